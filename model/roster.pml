/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A model of the server's roster (src/roster/roster.c) with few ids and few peers, and of the state
 * that its clients build from the messages they receive. Clients join and leave at any time,
 * without end, and a socket may or may not have room for a message at any time. See README.md.
 *
 * The server's part works as roster.c does, one message at a time. The clients' part is independent
 * of it: the receive_* functions check each message against the client's own table and against the
 * clients that are present. They must not read any variable of the server's part.
 */
#ifndef PEERS
#define PEERS 3 /* maximum number of clients at a time */
#endif
#ifndef IDS
#define IDS 5 /* at most 7, because a set of ids is a byte */
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
#define bit_of(id) (1 << (id))
#define has(set, id) (((set) >> (id)) & 1)

/* ---- Temporary variables of a step, not part of the state ---- */

hidden byte seen_n[IDS]; /* by id: number of present clients that have seen it */
hidden byte i, j, n, best, found, from, set, taken, stale, seen, believed, chosen_id;

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

hidden byte R_greeting_order, R_greeted_first, R_public, R_no_second_owner;
hidden byte R_leave_before_return, R_vector_order, R_leaves_before_joins, R_nothing_between;
hidden byte R_own_vectors_last, R_leave_of_known, R_leave_of_gone, R_no_own_leave;
hidden byte R_first_id_is_0, R_id_is_free, R_id_not_believed, R_lowest_unseen_id, R_fewest_seen;
hidden byte R_refused_only_full, R_ids_suffice, R_all_announced, R_something_to_send, REACHED;

/* ---- The clients: which are present, and what each has received ---- */

#define GONE (VECTORS + 1)
#define row(viewer, id) table[(viewer) * IDS + (id)]
#define believes(viewer, id) (row(viewer, id) >= 1 && row(viewer, id) <= VECTORS)

/* By id: number of messages of the greeting that the client has received. */
byte stage[IDS];
/* By viewer and id: number of vectors received of that peer; GONE: its leave was received. */
byte table[IDS * IDS];
/* Clients that are present. */
byte present;
/* By viewer: ids of peers that it believes to be present although they have left. */
byte dead[IDS];
/* By viewer: peers whose vectors must precede its own: greeted before it, and not left since. */
byte awaited[IDS];
/* Clients that were assigned an id that another client had seen, because every id had been seen. */
byte forced;
#if REACH == 1
byte used; /* ids assigned since the server was empty */
#endif
/* Clients without vectors. */
byte silent;
/* Clients no longer join or leave. */
bool stopped;
/* Clients that never read again once @stopped is set. */
byte stalled;
#ifdef JOINS
byte joins; /* number of joins since the server was empty */
#endif

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

/* No peer other than @p may be partly announced, unless that peer has left. */
inline judge_between(v, p)
{
	i = 0;
	do
	:: i < IDS ->
		RULE(R_nothing_between, i == p || !believes(v, i) || row(v, i) == VECTORS ||
					has(dead[v], i));
		i++
	:: else -> break
	od
}

inline receive_vector(v, p, vector)
{
	RULE(R_greeted_first, stage[v] == GREETING);
	RULE(R_public, public(p));
	RULE(R_no_second_owner, row(v, p) != GONE);
	RULE(R_leave_before_return, !has(dead[v], p));
	RULE(R_vector_order, row(v, p) == vector && vector < VECTORS);
	RULE(R_leaves_before_joins, vector > 0 || !dead[v]);
	judge_between(v, p);
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
	RULE(R_no_own_leave, p != v);
	RULE(R_leave_of_known, believes(v, p));
	RULE(R_leave_of_gone, has(dead[v], p));
	judge_between(v, p);
	row(v, p) = GONE;
	dead[v] = dead[v] & ~bit_of(p);
}

/* The server has nothing to send to @v, so the table of @v must match the clients present. */
inline judge_view(v)
{
	RULE(R_all_announced, stage[v] == GREETING && !dead[v]);
	i = 0;
	do
	:: i < IDS ->
		if
		:: public(i) && has(forced, i) && row(v, i) == GONE -> /* W-10: not announced */
#if REACH == 5
			RULE(REACHED, false)
#endif
		:: public(i) && !(has(forced, i) && row(v, i) == GONE) ->
			RULE(R_all_announced, row(v, i) == VECTORS)
		:: else ->
			RULE(R_all_announced, !believes(v, i))
		fi;
		i++
	:: else -> break
	od
}

/* Set @seen to the ids that a client has or has seen, and @believed to the ids that a client has or
 * believes to be in use. */
inline look_at_tables()
{
	seen = present;
	believed = present;
	i = 0;
	do
	:: i < IDS ->
		seen_n[i] = 0;
		j = 0;
		do
		:: j < IDS ->
			if
			:: row(j, i) -> seen = seen | bit_of(i); seen_n[i]++
			:: else
			fi;
			if
			:: believes(j, i) -> believed = believed | bit_of(i)
			:: else
			fi;
			j++
		:: else -> break
		od;
		i++
	:: else -> break
	od
}

/* The server assigns @id to a new client, or refuses the client (NO_ID). */
inline judge_join(id, is_silent)
{
	look_at_tables();
	if
	:: id == NO_ID ->
#if REACH == 4
		RULE(REACHED, false);
#endif
		RULE(R_refused_only_full, believed == bit_of(IDS) - 1);
#ifndef MAY_REFUSE
		RULE(R_ids_suffice, false)
#endif
	:: else ->
		RULE(R_first_id_is_0, present || id == 0);
		RULE(R_id_is_free, !has(present, id));
		RULE(R_id_not_believed, !has(believed, id));
		set = ~seen & (bit_of(IDS) - 1);
		from = 0;
		find_first();
		RULE(R_lowest_unseen_id, found == IDS || found == id);
		if
		:: found == IDS ->
			i = 0;
			do
			:: i < IDS ->
				RULE(R_fewest_seen, has(believed, i) || seen_n[i] >= seen_n[id]);
				i++
			:: else -> break
			od;
			forced = forced | bit_of(id);
#if REACH == 2
			RULE(REACHED, false)
#endif
		:: else
		fi;
#if REACH == 1
		if
		:: present -> RULE(REACHED, !has(used, id) || found == IDS)
		:: else -> used = 0
		fi;
		used = used | bit_of(id);
#endif
#ifdef JOINS
		joins++;
#endif
		present = present | bit_of(id);
		silent = silent | is_silent << id
	fi
}

/* @v has left; its table is cleared. */
inline leave_truth(v)
{
	present = present & ~bit_of(v);
#ifdef JOINS
	if
	:: !present -> joins = 0
	:: else
	fi;
#endif
	forced = forced & ~bit_of(v);
	silent = silent & ~bit_of(v);
	stage[v] = 0;
	dead[v] = 0;
	awaited[v] = 0;
	i = 0;
	do
	:: i < IDS ->
		row(v, i) = 0;
		if
		:: believes(i, v) ->
			dead[i] = dead[i] | bit_of(v);
#if REACH == 3
			RULE(REACHED, row(i, v) == VECTORS)
#endif
		:: else
		fi;
		awaited[i] = awaited[i] & ~bit_of(v);
		i++
	:: else -> break
	od
}

/* ---- The server: roster.c ---- */

byte visible;
/* By id: state of what was sent to the client with this id. */
byte greeting[IDS], known[IDS], heard[IDS], at_id[IDS], at_vector[IDS], cursor[IDS];
byte self_after[IDS];
bit knows_self[IDS];
#if BUG == 5
byte leak;
#endif

#if BUG == 1
#define NEWS(v) (visible & ~known[v])
#define RESERVED taken
#elif BUG == 4
#define NEWS(v) (visible & ~known[v])
#define RESERVED present
#elif BUG == 5
#define NEWS(v) (visible & ~heard[v])
#define RESERVED (stale | leak)
#elif BUG == 10
#define NEWS(v) (visible & ~known[v])
#define RESERVED stale
#elif BUG == 12
#define NEWS(v) (visible & ~heard[v])
#define RESERVED taken
#else
#define NEWS(v) (visible & ~heard[v])
#define RESERVED stale
#endif

#define middle(v) (at_id[v] != NO_ID && has(visible, at_id[v]))
#define joins_due(v) (NEWS(v) & ~bit_of(v))
#define leaves_due(v) (known[v] & ~visible)
#define anything_due(v)                                                                          \
	(greeting[v] < GREETING || middle(v) || leaves_due(v) || joins_due(v) || !knows_self[v])

/* Set @best to the id for a new client, or to NO_ID. */
inline choose_id()
{
	taken = present;
	stale = present;
	i = 0;
	do
	:: i < IDS -> taken = taken | known[i]; stale = stale | heard[i]; i++
	:: else -> break
	od;
	best = 0;
	do
	:: best < IDS && has(RESERVED, best) -> best++
	:: else -> break
	od;
	if
	:: best < IDS
#if BUG == 17
	:: else
#else
	:: else ->
		/* Choose the free id that has been sent to the fewest clients. */
		found = PEERS + 1;
		i = 0;
		do
		:: i < IDS ->
			n = 0;
			j = 0;
			do
			:: j < IDS -> n = n + has(heard[j], i); j++
			:: else -> break
			od;
			if
#if BUG == 18
			:: !has(taken, i) && best == IDS -> best = i
#else
			:: !has(taken, i) && n < found -> found = n; best = i
#endif
			:: else
			fi;
			i++
		:: else -> break
		od
#endif
	fi
}

inline join(is_silent)
{
	choose_id();
	chosen_id = best;
	judge_join(chosen_id, is_silent);
	if
	:: chosen_id != NO_ID ->
		at_id[chosen_id] = NO_ID;
		knows_self[chosen_id] = is_silent;
#if BUG == 3
		visible = visible | bit_of(chosen_id)
#endif
	:: else
	fi
}

inline leave(v)
{
#if BUG == 5
	leak = leak | heard[v];
#endif
	visible = visible & ~bit_of(v);
	greeting[v] = 0;
	known[v] = 0;
	heard[v] = 0;
	at_id[v] = 0;
	at_vector[v] = 0;
	cursor[v] = 0;
	self_after[v] = 0;
	knows_self[v] = 0;
	leave_truth(v)
}

inline send_greeting(v)
{
	receive_greeting(v, greeting[v]);
	greeting[v]++;
	if
	:: greeting[v] == GREETING ->
		self_after[v] = IDS;
		do
		:: self_after[v] > 0 && !has(visible, self_after[v] - 1) -> self_after[v]--
		:: else -> break
		od;
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
		heard[v] = heard[v] | bit_of(at_id[v]);
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
		:: at_id[v] != v ->
			known[v] = known[v] | bit_of(at_id[v]);
			heard[v] = heard[v] | bit_of(at_id[v])
		:: else
		fi;
#endif
		at_id[v] = NO_ID;
		at_vector[v] = 0
	:: else
	fi
}

inline send_leave(v)
{
	set = leaves_due(v);
	from = 0;
	find_first();
	chosen_id = found;
#if BUG != 8 && BUG != 15
	at_id[v] = NO_ID;
	at_vector[v] = 0;
#endif
#if BUG != 16
	known[v] = known[v] & ~bit_of(chosen_id);
#endif
	receive_leave(v, chosen_id)
}

/* Send the next peer in the order of ids, starting at the cursor and wrapping around. Once the
 * cursor has passed all peers that were visible when the greeting was complete, send the client's
 * own vectors instead. */
inline send_join(v)
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
	fi;
	RULE(R_something_to_send, found < IDS);
	at_id[v] = found;
	at_vector[v] = 0;
	send_vector(v)
}

/*
 * Reduce the number of states by giving the same value to all cursors that lead to the same
 * messages: skip ids that never have to be announced to @v, because @v has already been sent them.
 */
inline merge_cursors(v)
{
	n = 0;
	do
	:: cursor[v] < IDS && (has(heard[v], cursor[v]) || cursor[v] == v) -> cursor[v]++
	:: cursor[v] == IDS && knows_self[v] && n == 0 -> cursor[v] = 0; n = 1
	:: else -> break
	od;
	if
	:: knows_self[v] && cursor[v] == IDS -> cursor[v] = 0
	:: else
	fi
}

/* Send one message to @v, whose socket has room. */
inline send_next(v)
{
	if
#if BUG == 14
	:: greeting[v] < GREETING && (greeting[v] == 0 || !joins_due(v)) -> send_greeting(v)
	:: greeting[v] > 0 && greeting[v] < GREETING && joins_due(v) -> send_join(v)
#else
	:: greeting[v] < GREETING -> send_greeting(v)
#endif
#if BUG == 6
	:: greeting[v] == GREETING && !middle(v) && (joins_due(v) || !knows_self[v]) -> send_join(v)
	:: greeting[v] == GREETING && !middle(v) && !(joins_due(v) || !knows_self[v]) -> send_leave(v)
	:: greeting[v] == GREETING && middle(v) -> send_vector(v)
#elif BUG == 8
	:: greeting[v] == GREETING && leaves_due(v) -> send_leave(v)
	:: greeting[v] == GREETING && !leaves_due(v) && middle(v) -> send_vector(v)
	:: greeting[v] == GREETING && !leaves_due(v) && !middle(v) -> send_join(v)
#else
	:: greeting[v] == GREETING && middle(v) -> send_vector(v)
	:: greeting[v] == GREETING && !middle(v) && leaves_due(v) -> send_leave(v)
	:: greeting[v] == GREETING && !middle(v) && !leaves_due(v) -> send_join(v)
#endif
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
#define may_join (present_n < PEERS && joins < JOINS)
#else
#define may_join (present_n < PEERS)
#endif

#define present_n \
	(has(present, 0) + has(present, 1) + has(present, 2) + has(present, 3) + has(present, 4) + \
	 has(present, 5) + has(present, 6))

active proctype arrivals()
{
end:	do
	:: d_step { !stopped && may_join -> join(0); judge_views(); skip }
#ifdef SILENT
	:: d_step { !stopped && may_join -> join(1); judge_views(); skip }
#endif
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

active [IDS] proctype client()
{
end:	do
	:: d_step { !stopped && has(present, me) -> leave(me); judge_views(); skip }
	:: d_step {
		has(present, me) && wakes(me) && !has(stalled, me) ->
		send_next(me);
		merge_cursors(me);
		judge_views();
		skip
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
