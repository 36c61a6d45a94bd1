/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A model of the server's roster (src/roster/roster.c) with few ids and few peers, and of the state
 * that its clients build from the messages they receive. Clients join and leave at any time,
 * without end, and a socket may or may not have room for a message at any time. See README.md.
 *
 * The server's part works as roster.c does, one message at a time. The clients' part is independent
 * of it: the receive_* functions check each message against the client's own table and against the
 * clients and seats that exist. They must not read any variable of the server's part.
 */
#ifndef PEERS
#define PEERS 3 /* maximum number of clients at a time */
#endif
#ifndef IDS
#define IDS 4 /* at most 7, because a set of ids is a byte */
#endif
#ifndef VECTORS
#define VECTORS 2
#endif
#ifndef BUG
#define BUG 0 /* N: break the server in this way (README.md) */
#endif
#ifndef REACH
#define REACH 0 /* N: fail when the model reaches this situation (README.md) */
#endif

#ifndef GREETING
#define GREETING 3 /* version, id, memory */
#endif
#define NO_ID IDS
#define ALL_IDS (bit_of(IDS) - 1)
#define bit_of(id) (1 << (id))
#define has(set, id) (((set) >> (id)) & 1)

/* ---- Temporary variables of a step, not part of the state ---- */

hidden byte known_n[IDS]; /* by id: number of present clients that know it */
hidden byte i, j, n, best, found, from, set, taken, chosen_id, is_kept;

/* Set @found to the lowest id in @set that is at least @from, or to IDS. */
inline find_first()
{
	found = from;
	do
	:: found < IDS && !has(set, found) -> found++
	:: else -> break
	od
}

/* Spin reports the name of a violated rule. check.py can ignore all rules but one. */
#define RULE(name, condition) name = (condition); assert(name)
#define IGNORED(name, condition) name = (condition)

hidden byte R_greeting_order, R_greeted_first, R_public, R_leave_before_return, R_one_seat;
hidden byte R_vector_order, R_leaves_before_joins, R_nothing_between, R_own_vectors_last;
hidden byte R_quiet, R_no_own_leave, R_leave_of_known, R_leave_of_gone;
hidden byte R_first_id_is_0, R_id_is_free, R_seat_is_vacant, R_lowest_unknown_id, R_fewest_know;
hidden byte R_refused_only_full, R_seat_stays, R_seat_is_needed, R_all_announced;
hidden byte R_seat_is_whole;
hidden byte R_something_to_send, REACHED;

/* ---- The world: which clients are present, and what they are. Both parts may read this. ---- */

byte present;
/* Clients and vacant seats without vectors. */
byte silent;
/* Clients that must never be sent a leave. */
byte quiet;
/* Clients with an id that a quiet client knew from a seat that was given up. */
byte reassigned;
/* Clients and seats no longer change. */
bool stopped;
/* Clients that never read again once @stopped is set. */
byte stalled;
#ifdef JOINS
byte joins; /* number of joins since the server was empty */
#endif

/* ---- The clients: what each has received ---- */

#define row(viewer, id) table[(viewer) * IDS + (id)]
#define knows(viewer, id) (row(viewer, id) > 0)

/* By id: number of messages of the greeting that the client has received. */
byte stage[IDS];
/* By viewer and id: number of vectors received of that peer since its last leave. */
byte table[IDS * IDS];
/* Ids with a seat: those of clients, and vacant ones. */
byte seats;
/*
 * By viewer: known ids that are no longer what the viewer was told of. If it is quiet, it has the
 * eventfds of a seat that was given up; otherwise, it was told of a client that has left.
 */
byte former[IDS];
/* By viewer: peers whose vectors must precede its own: greeted before it, and not left since. */
byte awaited[IDS];

/* Whether this client must be visible to others (W-11, W-12). */
#define public(id) (has(present, id) && stage[id] == GREETING && !has(silent, id))

inline receive_greeting(v, number)
{
	RULE(R_greeting_order, number == stage[v] && stage[v] < GREETING);
	stage[v]++;
	if
	:: stage[v] == GREETING ->
		i = 0;
		do
		:: i < IDS ->
			if
			:: i != v && public(i) -> awaited[v] = awaited[v] | bit_of(i)
			:: else
			fi;
			i++
		:: else -> break
		od
	:: else
	fi
}

/*
 * No peer other than @p may be partly announced, not even a peer that has left. The exception is a
 * seat that was given up: a quiet client is sent nothing more about it.
 */
inline judge_between(v, p)
{
	i = 0;
	do
	:: i < IDS ->
		RULE(R_nothing_between, i == p || !knows(v, i) || row(v, i) == VECTORS ||
					(has(quiet, v) && has(former[v], i)));
		i++
	:: else -> break
	od
}

inline receive_vector(v, p, vector)
{
	RULE(R_greeted_first, stage[v] == GREETING);
	RULE(R_public, public(p) || (has(quiet, v) && knows(v, p)));
	RULE(R_leave_before_return, has(quiet, v) || !has(former[v], p));
	RULE(R_one_seat, !has(quiet, v) || (has(seats, p) && !has(former[v], p)));
	RULE(R_vector_order, row(v, p) == vector && vector < VECTORS);
	RULE(R_leaves_before_joins, vector > 0 || has(quiet, v) || !former[v]);
	judge_between(v, p);
#if REACH == 6
	RULE(REACHED, has(present, p));
#endif
#if REACH == 7
	RULE(REACHED, public(p) || !has(present, p));
#endif
	row(v, p) = row(v, p) + 1;
	if
	:: row(v, p) == VECTORS -> awaited[v] = awaited[v] & ~bit_of(p)
	:: else
	fi;
	RULE(R_own_vectors_last, p != v || !awaited[v]);
}

inline receive_leave(v, p)
{
	RULE(R_greeted_first, stage[v] == GREETING);
	RULE(R_quiet, !has(quiet, v));
	RULE(R_no_own_leave, p != v);
	RULE(R_leave_of_known, knows(v, p));
	RULE(R_leave_of_gone, has(former[v], p));
	judge_between(v, p);
#if REACH == 8
	RULE(REACHED, row(v, p) == VECTORS || !public(p));
#endif
	row(v, p) = 0;
	former[v] = former[v] & ~bit_of(p)
}

/* The server has nothing to send to @v, so the table of @v must match the clients present. */
inline judge_view(v)
{
	RULE(R_all_announced, stage[v] == GREETING && (has(quiet, v) || !former[v]));
	i = 0;
	do
	:: i < IDS ->
		if
		:: has(quiet, v) && has(former[v], i) -> /* W-10: the id is not announced again */
#if REACH == 5
			RULE(REACHED, !public(i))
#endif
		:: !has(former[v], i) && public(i) ->
			RULE(R_all_announced, row(v, i) == VECTORS)
		:: !has(former[v], i) && !public(i) && has(quiet, v) ->
			RULE(R_all_announced, !knows(v, i) || row(v, i) == VECTORS)
		:: else ->
			RULE(R_all_announced, !knows(v, i))
		fi;
		i++
	:: else -> break
	od
}

/* Set @known_n, and set @taken to the ids that have a seat or are known. */
inline look_at_tables()
{
	taken = seats;
	i = 0;
	do
	:: i < IDS ->
		known_n[i] = 0;
		j = 0;
		do
		:: j < IDS -> known_n[i] = known_n[i] + (knows(j, i) && j != i); j++
		:: else -> break
		od;
		if
		:: known_n[i] -> taken = taken | bit_of(i)
		:: else
		fi;
		i++
	:: else -> break
	od
}

/* Set @found to whether a quiet client knows @id, and @best to whether it has the seat's fds. */
inline look_for_quiet(id)
{
	found = 0;
	best = 0;
	i = 0;
	do
	:: i < IDS ->
		if
		:: has(quiet, i) && i != id && knows(i, id) ->
			found = 1;
			best = best | !has(former[i], id)
		:: else
		fi;
		i++
	:: else -> break
	od
}

/* The server assigns @id, which has no seat, to a new client. */
inline judge_new_id(id)
{
	RULE(R_id_is_free, !has(seats, id));
	RULE(R_first_id_is_0, present || id == 0);
	set = ~taken & ALL_IDS;
	from = 0;
	find_first();
	RULE(R_lowest_unknown_id, found == IDS || found == id);
	if
	:: found == IDS ->
		i = 0;
		do
		:: i < IDS ->
			RULE(R_fewest_know, has(seats, i) || known_n[i] >= known_n[id]);
			i++
		:: else -> break
		od
#if REACH == 2
		; RULE(REACHED, false)
#endif
	:: else
	fi;
	look_for_quiet(id);
	reassigned = reassigned | found << id
}

/*
 * The server assigns @id to a new client, which takes a vacant seat if @takes, or refuses the
 * client (NO_ID).
 */
inline judge_join(id, takes, is_quiet, is_silent)
{
	look_at_tables();
	if
	:: id == NO_ID ->
#if REACH == 4
		RULE(REACHED, false);
#endif
		RULE(R_refused_only_full, seats == ALL_IDS)
	:: else ->
		if
		:: takes ->
#if REACH == 1
			RULE(REACHED, false);
#endif
			RULE(R_seat_is_vacant, has(seats & ~present, id) && has(silent, id) == is_silent)
		:: else -> judge_new_id(id)
		fi;
#ifdef JOINS
		joins++;
#endif
		present = present | bit_of(id);
		silent = silent | is_silent << id;
		quiet = quiet | is_quiet << id;
		seats = seats | bit_of(id)
	fi
}

/*
 * The seat @id no longer exists. Which vectors a quiet client has of it no longer matters: it must
 * not be sent any. Filling the row reduces the number of states.
 */
inline end_seat(id)
{
	seats = seats & ~bit_of(id);
	silent = silent & ~bit_of(id);
	i = 0;
	do
	:: i < IDS ->
		if
		:: has(quiet, i) && knows(i, id) && i != id ->
			former[i] = former[i] | bit_of(id);
			row(i, id) = VECTORS
		:: else
		fi;
		i++
	:: else -> break
	od
}

/* @v has left; its table is cleared. @kept: the server keeps its seat */
inline judge_leave(v, kept)
{
	present = present & ~bit_of(v);
#ifdef JOINS
	if
	:: !present -> joins = 0
	:: else
	fi;
#endif
	quiet = quiet & ~bit_of(v);
	stage[v] = 0;
	former[v] = 0;
	awaited[v] = 0;
	i = 0;
	do
	:: i < IDS ->
		row(v, i) = 0;
		if
		:: knows(i, v) && !has(quiet, i) ->
			former[i] = former[i] | bit_of(v);
#if REACH == 3
			RULE(REACHED, row(i, v) == VECTORS)
#endif
		:: else
		fi;
		awaited[i] = awaited[i] & ~bit_of(v);
		i++
	:: else -> break
	od;
	look_for_quiet(v);
	RULE(R_seat_stays, kept || !best || has(reassigned, v));
	RULE(R_seat_is_whole, !kept || !has(reassigned, v));
	reassigned = reassigned & ~bit_of(v);
#if REACH == 9
	RULE(REACHED, kept || !found);
#endif
	if
	:: !kept -> end_seat(v)
	:: else
	fi
}

/* The server has given up all seats that it need not keep after a leave. */
inline judge_seats()
{
	n = 0;
	do
	:: n < IDS ->
		look_for_quiet(n);
		RULE(R_seat_is_needed, found || has(present, n) || !has(seats, n));
		n++
	:: else -> break
	od
}

/* The server gives up the seat @id. */
inline judge_give_up(id)
{
	RULE(R_seat_is_vacant, has(seats & ~present, id));
	end_seat(id)
}

/* ---- The server: roster.c ---- */

byte visible, vacant;
/* Clients whose seat is not kept when they leave. */ byte mute; /* By id: state of what was sent to
the client with this id. */ byte greeting[IDS], known[IDS], outdated[IDS], at_id[IDS],
at_vector[IDS], cursor[IDS]; byte self_after[IDS]; bit knows_self[IDS];

#if BUG == 20
#define sendable(v, id) (has(visible, id) && !has(outdated[v], id))
#else
#define sendable(v, id)                                                                          \
	((has(quiet, v) && has(present | vacant, id)) ||                                         \
	 (!has(quiet, v) && has(visible, id) && !has(outdated[v], id)))
#endif
#if BUG == 1
#define hears_leaves(v) true
#else
#define hears_leaves(v) (!has(quiet, v))
#endif

#define middle(v) (at_id[v] != NO_ID && sendable(v, at_id[v]))
#define joins_due(v) (visible & ~bit_of(v) & (outdated[v] | ~known[v]))
#define leaves_due(v) (hears_leaves(v) * (known[v] & (outdated[v] | ~visible)))
#define anything_due(v)                                                                          \
	(greeting[v] < GREETING || middle(v) || leaves_due(v) || joins_due(v) || !knows_self[v])

/* Set @best to the id without a seat that the fewest clients know, or to NO_ID. */
inline choose_least_known()
{
	best = NO_ID;
	found = PEERS + 1;
	i = 0;
	do
	:: i < IDS ->
		n = 0;
		j = 0;
		do
		:: j < IDS -> n = n + has(known[j], i); j++
		:: else -> break
		od;
		if
#if BUG == 18
		:: !has(present | vacant, i) && best == IDS -> best = i
#elif BUG == 22
		:: !has(present, i) && n < found -> found = n; best = i
#else
		:: !has(present | vacant, i) && n < found -> found = n; best = i
#endif
		:: else
		fi;
		i++
	:: else -> break
	od
}

/* Set @best to the id for a new client that takes no seat, or to NO_ID. */
inline choose_id()
{
	taken = present | vacant;
#if BUG != 12
	i = 0;
	do
	:: i < IDS -> taken = taken | known[i]; i++
	:: else -> break
	od;
#endif
	best = 0;
	do
	:: best < IDS && has(taken, best) -> best++
	:: else -> break
	od;
	if
	:: best < IDS
#if BUG == 17
	:: else
#else
	:: else -> choose_least_known()
#endif
	fi
}

/* A new client gets @id. A client that knows the id must be sent the leave of its former owner. */
inline add_client(id, is_silent)
{
	i = 0;
	do
	:: i < IDS ->
		if
#if BUG == 4
		:: false
#elif BUG == 23
		:: has(known[i], id) -> outdated[i] = outdated[i] | bit_of(id)
#else
		:: !has(quiet, i) && has(known[i], id) -> outdated[i] = outdated[i] | bit_of(id)
#endif
		:: else
		fi;
		i++
	:: else -> break
	od;
	vacant = vacant & ~bit_of(id);
	at_id[id] = NO_ID;
	knows_self[id] = is_silent;
#if BUG == 3
	visible = visible | bit_of(id)
#endif
}

/* Set @found to whether a quiet client knows @id. */
inline find_need(id)
{
	found = 0;
	j = 0;
	do
	:: j < IDS -> found = found | (has(quiet, j) && has(known[j], id)); j++
	:: else -> break
	od
}

inline join(is_quiet, is_silent)
{
	choose_id();
	chosen_id = best;
	judge_join(chosen_id, false, is_quiet, is_silent);
	if
	:: chosen_id != NO_ID ->
		find_need(chosen_id);
		mute = mute | found << chosen_id;
		add_client(chosen_id, is_silent)
	:: else
	fi
}

inline take_seat(id, is_quiet)
{
	judge_join(id, true, is_quiet, has(silent, id));
	add_client(id, has(silent, id))
}

/* Quiet clients that have been sent a part of the vectors of @id are not sent the rest. */
inline forget_positions(id)
{
	j = 0;
	do
	:: j < IDS ->
		if
		:: has(present & quiet, j) && at_id[j] == id -> at_id[j] = NO_ID; at_vector[j] = 0
		:: else
		fi;
		j++
	:: else -> break
	od
}

inline give_up(id)
{
#if BUG != 19
	forget_positions(id);
#endif
#if BUG == 10
	j = 0;
	do
	:: j < IDS -> known[j] = known[j] & ~(has(quiet, j) << id); j++
	:: else -> break
	od;
#endif
#if BUG != 25
	vacant = vacant & ~bit_of(id);
#endif
	judge_give_up(id)
}

/* Give up the seats that no quiet client knows any more. */
inline sweep_seats()
{
	n = 0;
	do
	:: n < IDS ->
		find_need(n);
		if
		:: has(vacant, n) && !found -> give_up(n)
		:: else
		fi;
		n++
	:: else -> break
	od
}

inline leave(v)
{
#if BUG != 27
	visible = visible & ~bit_of(v);
#endif
	greeting[v] = 0;
	outdated[v] = 0;
	at_id[v] = 0;
	at_vector[v] = 0;
	cursor[v] = 0;
	self_after[v] = 0;
	knows_self[v] = 0;
#if BUG == 21
	is_kept = 0;
#else
	find_need(v);
#if BUG == 30
	is_kept = found;
#else
	is_kept = found && !has(mute, v);
#endif
#endif
	mute = mute & ~bit_of(v);
	if
	:: !is_kept && found -> forget_positions(v)
	:: else
	fi;
	vacant = vacant | is_kept << v;
#if BUG == 28
	if
	:: !is_kept -> known[v] = 0
	:: else
	fi;
#else
	known[v] = 0;
#endif
	judge_leave(v, is_kept);
#if BUG != 5
	sweep_seats();
#endif
	judge_seats()
}

inline send_greeting(v)
{
#if BUG == 29
	receive_greeting(v, (greeting[v] + GREETING - 1) % GREETING);
#else
	receive_greeting(v, greeting[v]);
#endif
	greeting[v]++;
	if
	:: greeting[v] == GREETING ->
		if
		:: !knows_self[v] ->
			self_after[v] = IDS;
			do
			:: self_after[v] > 0 && !has(visible, self_after[v] - 1) -> self_after[v]--
			:: else -> break
			od
		:: else
		fi;
#if BUG == 11
		visible = visible | bit_of(v)
#else
		if
		:: !has(silent, v) -> visible = visible | bit_of(v)
		:: else
		fi
#endif
	:: else
	fi
}

inline send_vector(v)
{
	if
	:: at_vector[v] == 0 && at_id[v] != v ->
#if BUG != 2
		known[v] = known[v] | bit_of(at_id[v]);
#endif
		cursor[v] = at_id[v] + 1
	:: at_id[v] == v ->
		knows_self[v] = 1;
		self_after[v] = 0 /* not used again; clearing it reduces the number of states */
	:: else
	fi;
	receive_vector(v, at_id[v], at_vector[v]);
	at_vector[v]++;
	if
	:: at_vector[v] == VECTORS ->
#if BUG == 2
		if
		:: at_id[v] != v -> known[v] = known[v] | bit_of(at_id[v])
		:: else
		fi;
#endif
		at_id[v] = NO_ID;
		at_vector[v] = 0
	:: else
	fi
}

/* The leave of a peer whose vectors have been only partly sent comes first. */
inline send_leave(v)
{
	set = leaves_due(v);
	from = 0;
	find_first();
#if BUG != 26
	if
	:: at_id[v] != NO_ID -> found = at_id[v]
	:: else
	fi;
#endif
	chosen_id = found;
#if BUG != 8 && BUG != 15
	at_id[v] = NO_ID;
	at_vector[v] = 0;
#endif
#if BUG != 24
	outdated[v] = outdated[v] & ~bit_of(chosen_id);
#endif
#if BUG != 16
	known[v] = known[v] & ~bit_of(chosen_id);
#endif
	receive_leave(v, chosen_id)
}

/*
 * Set @found to the next peer in the order of ids, starting at the cursor and wrapping around. Once
 * the cursor has passed all peers that were visible when the greeting was complete, choose the
 * client itself instead.
 */
inline find_join(v)
{
	set = joins_due(v);
	from = cursor[v];
	find_first();
#if BUG == 7
	if
	:: !knows_self[v] ->
#else
	if
	:: !knows_self[v] && found >= self_after[v] ->
#endif
		found = v
#if BUG != 9
	:: else ->
		if
		:: found == IDS -> from = 0; find_first()
		:: else
		fi
#else
	:: else
#endif
	fi
}

inline send_join(v, id)
{
	at_id[v] = id;
	at_vector[v] = 0;
	RULE(R_something_to_send, at_id[v] < IDS && sendable(v, at_id[v]));
	send_vector(v);
#ifndef CURSOR
	/* The cursor is not used again, because any join may come next. */
	if
	:: knows_self[v] -> cursor[v] = 0
	:: else
	fi
#endif
}

/*
 * Whether a join is next for @v. Unless CURSOR is defined, a client that has been sent its own
 * vectors may be sent any of the joins that are due to it: these are all orders in which a cursor
 * can lead to them, and more.
 */
#if BUG == 6
#define join_is_next(v)                                                                          \
	(greeting[v] == GREETING && !middle(v) && (joins_due(v) || !knows_self[v]))
#elif BUG == 14
#define join_is_next(v)                                                                          \
	((greeting[v] > 0 && joins_due(v) && !middle(v) && !leaves_due(v)) ||                    \
	 (greeting[v] == GREETING && !middle(v) && !leaves_due(v) && !knows_self[v]))
#else
#define join_is_next(v)                                                                          \
	(greeting[v] == GREETING && !middle(v) && !leaves_due(v) &&                              \
	 (joins_due(v) || !knows_self[v]))
#endif
#ifdef CURSOR
#define in_any_order(v) false
#else
#define in_any_order(v) (knows_self[v])
#endif

/* Send one message to @v, whose socket has room: the join of @id, or, if it is NO_ID, the next. */
inline send_next(v, id)
{
	if
	:: join_is_next(v) ->
		found = id;
		if
		:: id == NO_ID -> find_join(v)
		:: else
		fi;
		send_join(v, found)
	:: else ->
		if
		:: greeting[v] < GREETING -> send_greeting(v)
#if BUG == 8
		:: greeting[v] == GREETING && leaves_due(v) -> send_leave(v)
		:: greeting[v] == GREETING && !leaves_due(v) -> send_vector(v)
#else
		:: greeting[v] == GREETING && middle(v) -> send_vector(v)
		:: greeting[v] == GREETING && !middle(v) -> send_leave(v)
#endif
		fi
	fi
}

/* Check the table of every client to which nothing is due. Called after every step. */
inline judge_views()
{
	n = 0;
	do
	:: n < IDS ->
		if
		:: has(present, n) && !anything_due(n) -> judge_view(n)
		:: else
		fi;
		n++
	:: else -> break
	od
}

/* ---- Processes ---- */

#ifdef JOINS
#define may_join (!stopped && present_n < PEERS && joins < JOINS)
#else
#define may_join (!stopped && present_n < PEERS)
#endif

#define present_n \
	(has(present, 0) + has(present, 1) + has(present, 2) + has(present, 3) + has(present, 4) + \
	 has(present, 5) + has(present, 6))

/*
 * Each process first chooses what happens next, then carries it out. Both are one step. The choice
 * is not a part of the state.
 */
hidden byte choice, joins_quiet, joins_silent;

#define JOIN(is_quiet, is_silent) may_join -> joins_quiet = is_quiet; joins_silent = is_silent

active proctype arrivals()
{
end:	do
	:: atomic {
		if
#ifndef ALL_QUIET
		:: JOIN(0, 0)
#endif
#ifndef NONE_QUIET
		:: JOIN(1, 0)
#endif
#ifdef SILENT
		:: JOIN(0, 1)
		:: JOIN(1, 1)
#endif
		fi;
		d_step { join(joins_quiet, joins_silent); judge_views(); skip }
	}
#ifdef LIVE
	:: atomic {
		!stopped ->
		select(stalled : 0 .. (bit_of(IDS) - 1));
		stalled = stalled & present;
		stopped = true
	}
#endif
	od
}

#define me (_pid - 1)
#if BUG == 13
#define wakes(v) \
	(greeting[v] < GREETING || middle(v) || joins_due(v) || !knows_self[v])
#else
#define wakes(v) anything_due(v)
#endif
#define reads (has(present, me) && wakes(me) && !has(stalled, me))

#define sends_next (reads && !(join_is_next(me) && in_any_order(me)))
#define sends_any(id) 	(IDS > id && reads && join_is_next(me) && in_any_order(me) && has(joins_due(me), id))

/* Choices; a number below IDS: send this peer's join */
#define SEND_NEXT IDS
#define LEAVE (IDS + 1)
#define GIVE_UP (IDS + 2)
#define TAKE_SEAT (IDS + 3)

active [IDS] proctype client()
{
end:	do
	:: atomic {
		if
		:: !stopped && has(present, me) -> choice = LEAVE
		:: sends_next -> choice = SEND_NEXT
#ifndef CURSOR
		:: sends_any(0) -> choice = 0
		:: sends_any(1) -> choice = 1
		:: sends_any(2) -> choice = 2
		:: sends_any(3) -> choice = 3
		:: sends_any(4) -> choice = 4
		:: sends_any(5) -> choice = 5
		:: sends_any(6) -> choice = 6
#endif
#ifndef NONE_QUIET
		:: !stopped && has(vacant, me) -> choice = GIVE_UP
		:: has(vacant, me) && may_join -> choice = TAKE_SEAT; joins_quiet = 1
#ifndef ALL_QUIET
		:: has(vacant, me) && may_join -> choice = TAKE_SEAT; joins_quiet = 0
#endif
#endif
		fi;
		d_step {
			if
			:: choice == LEAVE -> leave(me)
#ifndef NONE_QUIET
			:: choice == GIVE_UP -> give_up(me)
			:: choice == TAKE_SEAT -> take_seat(me, joins_quiet)
#endif
			:: choice <= SEND_NEXT -> send_next(me, choice)
			fi;
			judge_views();
			skip
		}
	}
	od
}

#ifdef LIVE
#define settled(id) (!has(present, id) || has(stalled, id) || !anything_due(id))
#if IDS == 3
#define all_settled (settled(0) && settled(1) && settled(2))
#elif IDS == 4
#define all_settled (settled(0) && settled(1) && settled(2) && settled(3))
#endif
ltl settles { [] (stopped -> <> [] all_settled) }
#endif
