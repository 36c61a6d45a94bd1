/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A model of a lane (src/channel/lane.c) with its writer (outlet.c) and its reader (inlet.c), which
 * sleep as wait.c makes them, until their doorbell is rung. Messages are sent without end, and a
 * peer may stop, close its side or be killed before any step. See README.md.
 *
 * A step has at most one access to memory that the other peer writes or reads. A store is put into
 * its peer's buffer, from which it becomes visible later, in order. A publication waits until the
 * buffer is empty. A ring is in the buffer, too, so that it is not seen before earlier stores.
 */
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef BUG
#define BUG 0 /* N: break a peer in this way (README.md) */
#endif
#ifndef REACH
#define REACH 0 /* N: fail when the model reaches this situation (README.md) */
#endif

#ifndef LAPS
#define LAPS 4 /* the numbers of messages are those of so many laps */
#endif
#define NUMBERS (LAPS * SLOTS)
#define NONE NUMBERS /* not a position */
#define plus(a, b) (((a) + (b)) % NUMBERS)
#define minus(a, b) (((a) + NUMBERS - (b)) % NUMBERS)
/* A reader tells a writer that sleeps each time it has released so many messages. */
#define QUARTER (SLOTS < 4 -> 1 : SLOTS / 4)

/* Stores that a buffer holds. */
#define DEPTH 2
#define BODY 0 /* a message's bytes */
#define WORD 1 /* a slot's word */
#define POSITION 2
#define SLEEPS 3
#define CLOSED 4
#define RING 5

/* Results of a try. */
#define OK 0
#define TIMEOUT 1
#define ENDED 2
#define RESTS 3 /* nothing more will happen, as the other peer has stopped, but is not gone */

/*
 * Spin reports the name of a violated rule. check.py can ignore all rules but one. A rule must be
 * in a d_step, because its variable is not part of the state.
 */
#define RULE(name, condition) name = (condition); assert(name)
#define IGNORED(name, condition) name = (condition)

hidden byte R_word_possible, R_position_possible, R_message_intact, R_all_received, R_flushed;
hidden byte R_told_when_empty, R_end_has_cause, REACHED;

/* ---- The region ---- */

byte body[SLOTS];
byte word[SLOTS]; /* the number of the message, which is its position */
byte position;
bool w_sleeps, r_sleeps;
bool w_closed, r_closed;

/* ---- Doorbells, deaths, buffers ---- */

bool w_bell, r_bell;   /* rung, and not waited for since */
bool w_dead, r_dead;   /* killed */
bool w_left, r_left;   /* the server has sent the leave to the other peer */
bool w_knows, r_knows; /* the writer, the reader has received that leave of the other peer */
chan w_stores = [DEPTH] of {byte, byte};
chan r_stores = [DEPTH] of {byte, byte};

/* ---- The peers' own memory ---- */

byte w_at;	     /* messages committed */
byte w_limit = SLOTS;
byte w_rung = NONE;  /* the reader's position when it was last rung */
bool w_looked;	     /* with BUG 13: whether the reader slept before the commit */
byte w_result;
bool w_stopped;	     /* the application never calls again */
bool w_over;
byte r_at;	     /* messages released */
byte r_result;
bool r_stopped;
bool r_over;

hidden byte kind, value, released, before;

/* A store of the writer or the reader becomes visible. */
inline apply(of_writer)
{
	if
	:: kind == BODY -> body[value % SLOTS] = value
	:: kind == WORD -> word[value % SLOTS] = value
	:: kind == POSITION -> position = value
	:: kind == SLEEPS && of_writer -> w_sleeps = value
	:: kind == SLEEPS && !of_writer -> r_sleeps = value
	:: kind == CLOSED && of_writer -> w_closed = true
	:: kind == CLOSED && !of_writer -> r_closed = true
	:: kind == RING && of_writer -> r_bell = true
	:: kind == RING && !of_writer -> w_bell = true
	fi
}

/* ivs_shared_publish(); with @weak, ivs_shared_store() */
inline publish(of_writer, stores, weak, what, number)
{
	if
	:: atomic { (weak) && nfull(stores) -> stores!what, number }
	:: d_step {
		!(weak) && empty(stores) ->
		kind = what;
		value = number;
		apply(of_writer);
		kind = 0;
		value = 0
	   }
	fi
}

/* ---- The writer ---- */

/* ivs_outlet_reserve(), or with @flushes try_flush() in queue.c */
inline w_try(flushes)
{
	if
	:: d_step { !(flushes) && w_at != w_limit -> w_result = OK }
	:: else ->
		d_step { w_result = ((r_closed || w_knows) -> ENDED : TIMEOUT) }
		d_step {
			/* ivs_lane_allow() */
			before = minus(w_limit, SLOTS + (BUG == 9));
			released = minus(position, before);
			RULE(R_position_possible, released <= minus(w_at, before));
			w_limit = plus(position, SLOTS + (BUG == 9));
			/* The reader never returns to an earlier position. */
			w_rung = (w_rung == position || BUG == 10 -> w_rung : NONE);
			if
			:: flushes && position == w_at -> w_result = OK
			:: !(flushes) && w_result == TIMEOUT && w_at != w_limit -> w_result = OK
			:: else
			fi;
			before = 0;
			released = 0
		}
	fi
}

/*
 * The reader's application has stopped, nothing is in a buffer, and the writer has not been told of
 * room: the reader has not got to the end of a quarter since the position that the writer knows.
 */
#define settled(bell) (empty(w_stores) && empty(r_stores) && !bell)
#define w_may_rest(flushes) \
	(r_stopped && !r_dead && settled(w_bell) && w_at != r_at && \
	 ((flushes) || minus(r_at, minus(w_limit, SLOTS)) <= r_at % QUARTER))

/* sleep_once() or ivs_channels_wait() in wait.c */
inline w_sleep(flushes)
{
	publish(true, w_stores, BUG == 4, SLEEPS, 1);
#if BUG == 15
	w_bell = false; /* the bell is cleared after the announcement, and before the sleep */
	w_try(flushes);
	w_bell = false;
#elif BUG != 6
	w_try(flushes);
#endif
#if REACH == 2
	if
	:: w_result == TIMEOUT && r_sleeps && w_sleeps -> d_step { RULE(REACHED, false) }
	:: else
	fi;
#endif
	if
	:: w_result == TIMEOUT ->
		if
		:: w_bell || (r_left && !w_knows) ->
			if
			:: d_step { w_bell = (BUG == 22); w_knows = r_left || BUG == 21 }
			   w_try(flushes);
			   publish(true, w_stores, false, SLEEPS, 0)
			:: publish(true, w_stores, false, SLEEPS, 0);
			   d_step { w_bell = (BUG == 22); w_knows = r_left || BUG == 21 }
			   w_try(flushes)
			fi
		:: d_step { w_may_rest(flushes) -> w_result = RESTS }
		fi
	:: else ->
		publish(true, w_stores, false, SLEEPS, 0)
	fi
}

inline w_await(flushes)
{
	w_try(flushes);
	do
	:: w_result == TIMEOUT -> w_sleep(flushes)
	:: else -> break
	od
}

/* wake() in outlet.c: the reader sleeps */
inline w_wake()
{
	if
	:: d_step { position == w_at || position == w_rung || (BUG == 10 && w_rung != NONE) -> skip }
#if REACH == 3
	   if
	   :: position != w_at -> d_step { RULE(REACHED, false) }
	   :: else
	   fi
#endif
	:: d_step {
		!(position == w_at || position == w_rung || (BUG == 10 && w_rung != NONE)) ->
		w_rung = position
	   }
	   if
	   :: BUG == 7
	   :: BUG != 7 -> w_stores!RING, 0
	   fi
	fi
}

inline w_commit()
{
#if BUG == 13
	w_looked = r_sleeps;
#endif
	if
	:: BUG == 11 -> publish(true, w_stores, false, WORD, w_at); w_stores!BODY, w_at
	:: BUG != 11 -> w_stores!BODY, w_at; publish(true, w_stores, BUG == 1, WORD, w_at)
	fi;
	w_at = plus(w_at, 1);
	if
#if BUG == 13
	:: w_looked -> w_looked = false; w_wake()
#else
	:: r_sleeps -> w_wake()
#endif
	:: else
	fi
}

proctype Writer()
{
	{
		do
		:: /* ivs_queue_send(), possibly with ivs_queue_flush() */
			w_await(false);
			if
			:: w_result == OK -> w_commit()
			:: else -> break
			fi;
			if
			:: true
			:: w_await(BUG != 23);
			   if
			   :: w_result == OK -> d_step { RULE(R_flushed, r_at == w_at) }
			   :: else -> break
			   fi
			fi
		:: /* ivs_outlet_close() */
			publish(true, w_stores, false, CLOSED, 0);
			if
			:: BUG == 16
			:: BUG != 16 -> w_stores!RING, 0
			fi;
			break
		:: /* the application does something else */
			d_step { w_stopped = true; w_over = true }
end_stopped:		false
		od;
		skip; /* a jump must not end at a d_step */
		d_step { RULE(R_end_has_cause, w_result != ENDED || r_closed || r_dead) }
	} unless { w_dead };
	w_over = true
}

/* ---- The reader ---- */

/* ivs_lane_peek() */
inline r_peek()
{
	d_step {
		RULE(R_word_possible, word[r_at % SLOTS] == r_at ||
				      word[r_at % SLOTS] == minus(r_at, SLOTS));
		r_result = (word[r_at % SLOTS] == r_at -> OK : TIMEOUT)
	}
}

/* tell_writer() in inlet.c */
inline r_tell()
{
	publish(false, r_stores, BUG == 3, POSITION, plus(r_at, BUG == 20));
	if
	:: w_sleeps ->
		if
		:: BUG == 8
		:: BUG != 8 -> r_stores!RING, 0
		fi
	:: else
	fi
}

/* ivs_inlet_peek() */
inline r_try()
{
	r_peek();
	if
	:: r_result == TIMEOUT ->
		/* So inlet.c does not need to tell the writer, for which it looks at @untold. */
		d_step { RULE(R_told_when_empty, position == r_at) }
		if
		:: w_closed || (r_knows && BUG != 17) ->
			if
			:: BUG == 14 -> r_result = ENDED
			:: BUG != 14 ->
				r_peek();
				d_step { r_result = (r_result == TIMEOUT -> ENDED : OK) }
			fi
		:: else
		fi
	:: else
	fi
}

#define r_may_rest \
	(w_stopped && !w_dead && settled(r_bell) && w_at == r_at)

/* sleep_once() or ivs_channels_wait() in wait.c */
inline r_sleep()
{
	publish(false, r_stores, BUG == 2, SLEEPS, 1);
#if BUG != 5
	r_try();
#endif
#if REACH == 1
	if
	:: r_result == OK -> d_step { RULE(REACHED, false) }
	:: else
	fi;
#endif
	if
	:: r_result == TIMEOUT ->
		if
		:: r_bell || (w_left && !r_knows) ->
			if
			:: d_step { r_bell = false; r_knows = w_left || BUG == 21 }
			   r_try();
			   publish(false, r_stores, false, SLEEPS, 0)
			:: publish(false, r_stores, false, SLEEPS, 0);
			   d_step { r_bell = false; r_knows = w_left || BUG == 21 }
			   r_try()
			fi
#if REACH == 4
			; if
			:: r_result == OK && w_dead -> d_step { RULE(REACHED, false) }
			:: else
			fi
#endif
		:: d_step { r_may_rest -> r_result = RESTS }
		fi
	:: else ->
		publish(false, r_stores, false, SLEEPS, 0)
	fi
}

/* ivs_inlet_release(). The message was read before. */
inline r_release()
{
	if
	:: BUG == 12 ->
		publish(false, r_stores, false, POSITION, plus(r_at, 1))
	:: BUG != 12
	fi;
	d_step {
		RULE(R_message_intact, body[r_at % SLOTS] == r_at);
		r_at = plus(r_at, 1)
	}
	if
	:: r_at % QUARTER == 0 -> r_tell()
	:: else ->
		d_step { r_result = (word[r_at % SLOTS] == r_at || BUG == 18 -> OK : TIMEOUT) }
		if
		:: r_result == OK -> r_stores!POSITION, r_at
		:: else -> r_tell()
		fi
	fi
}

proctype Reader()
{
	{
		do
		:: /* ivs_queue_receive() */
			r_try();
			do
			:: r_result == TIMEOUT -> r_sleep()
			:: else -> break
			od;
			if
			:: r_result == OK -> r_release()
			:: else -> break
			fi
		:: /* ivs_inlet_close() */
			publish(false, r_stores, false, CLOSED, 0);
			r_stores!RING, 0;
			break
		:: d_step { r_stopped = true; r_over = true }
end_stopped:		false
		od;
		skip; /* a jump must not end at a d_step */
		d_step {
			RULE(R_end_has_cause, r_result != ENDED || w_closed || w_dead);
			/* A writer may have been killed between the publication and its next step. */
			RULE(R_all_received, r_result != ENDED || (word[r_at % SLOTS] != r_at &&
					     (r_at == w_at || (w_dead && r_at == plus(w_at, 1)))))
		}
	} unless { r_dead };
	r_over = true
}

/* ---- The world ---- */

/* What is in the buffer of a peer that was killed becomes visible, too. */
proctype Writers_memory()
{
end:	do
	:: d_step { w_stores?kind, value -> apply(true); kind = 0; value = 0 }
	od
}

proctype Readers_memory()
{
end:	do
	:: d_step { r_stores?kind, value -> apply(false); kind = 0; value = 0 }
	od
}

#ifdef DEATHS
/* Kill one peer or none. The server sends the leave, which ends the other peer's sleep. */
proctype Server()
{
	if
	:: w_dead = true -> (empty(w_stores)); w_left = (BUG != 19)
	:: r_dead = true -> (empty(r_stores)); r_left = (BUG != 19)
	:: true /* no more deaths, so that no death ends a sleep that nothing else would end */
	fi;
end_done: false
}
#endif

#ifdef NOISE
/* Other peers, and other lanes of these peers, ring at any time. */
proctype Others()
{
end:	do
	:: w_bell = true
	:: r_bell = true
	od
}
#endif

hidden byte i;

init
{
	atomic {
		i = 0;
		do
		:: i < SLOTS ->
			word[i] = minus(i, SLOTS);
			body[i] = minus(i, SLOTS);
			i++
		:: else -> break
		od;
		run Writer();
		run Reader();
		run Writers_memory();
		run Readers_memory();
#ifdef DEATHS
		run Server();
#endif
#ifdef NOISE
		run Others();
#endif
	}
}

#ifdef LIVE
/* Both peers come to rest or an end, or messages are received without end. */
ltl goes_on { (<>[] (w_over && r_over)) || ([]<> (r_at == 0) && []<> (r_at == 1)) }
#endif
