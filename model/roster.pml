/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server's roster (src/server/roster.c) with few ids and few peers, and beside it what the
 * clients make of its messages. Clients come and go at any time and without end, and each socket
 * takes a message at any time, or not. See README.md.
 *
 * The server's side works as roster.c does, one message at a time. The clients' side knows nothing
 * of it: each message passes through hear_..., which judges it by the client's own table and by who
 * is really there. Nothing of the server's may be read there.
 */
#ifndef PEERS
#define PEERS 3 /* who may be there at a time */
#endif
#ifndef IDS
#define IDS 5 /* at most 7: sets are bytes */
#endif
#ifndef VECTORS
#define VECTORS 2
#endif
#ifndef BUG
#define BUG 0 /* break the server in one way: README.md */
#endif
#ifndef REACH
#define REACH 0 /* fail where the model comes to a certain point: README.md */
#endif

#ifndef GREETING
#define GREETING 3 /* version, id, memory */
#endif
#define NOBODY IDS
#define bit_of(id) (1 << (id))
#define has(set, id) (((set) >> (id)) & 1)

/* ---- Scratch within a step, no state ---- */

hidden byte met_n[IDS]; /* by how many who are there an id was met */
hidden byte i, j, n, best, found, from, set, taken, stale, met, believed, told_id;

/* found = the first of @set from @from upwards, or IDS */
inline find_first()
{
	found = from;
	do
	:: found < IDS && !has(set, found) -> found++
	:: else -> break
	od
}

/* A failed assertion is reported under its rule's name. check.py can have all rules but one ignored. */
#define RULE(name, condition) name = (condition); assert(name)
#define IGNORED(name, condition) name = (condition)

hidden byte R_greeting_order, R_greeted_first, R_public, R_no_second_owner;
hidden byte R_leave_before_return, R_vector_order, R_leaves_before_joins, R_nothing_between;
hidden byte R_own_vectors_last, R_leave_of_known, R_leave_of_gone, R_no_own_leave;
hidden byte R_first_id_is_0, R_id_is_free, R_id_not_believed, R_lowest_unmet_id, R_fewest_met;
hidden byte R_refused_only_full, R_ids_suffice, R_told_all, R_something_to_tell, REACHED;

/* ---- The clients, and the truth ---- */

#define GONE (VECTORS + 1)
#define row(viewer, id) table[(viewer) * IDS + (id)]
#define believes(viewer, id) (row(viewer, id) >= 1 && row(viewer, id) <= VECTORS)

/* By id: messages of the greeting that the client has read. */
byte stage[IDS];
/* By viewer and id: how many vectors it has of that peer; GONE: it was told that it left. */
byte table[IDS * IDS];
/* Who is there. */
byte there;
/* By viewer: whom it believes to be there and who has left. */
byte dead[IDS];
/* By viewer: who was greeted when it was, and has not left; until it is told its own vectors. */
byte awaited[IDS];
/* Those whose id had been met with another owner by somebody: there was no better one. */
byte forced;
#if REACH == 1
byte used; /* ids given since the server was empty */
#endif
/* Those without vectors. */
byte silent;
/* Nobody comes or goes any more. */
bool stopped;
/* Those who do not read any more when that begins. */
byte deaf;
#ifdef JOINS
byte joins; /* since the server was empty */
#endif

/* Who is to be known to others: W-11, W-12. */
#define public(id) (has(there, id) && stage[id] == GREETING && !has(silent, id))

inline hear_greeting(v, number)
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

/* Those whose vectors have begun, who are still there, and are not told of to the end. */
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

inline hear_vector(v, p, vector)
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

inline hear_leave(v, p)
{
	RULE(R_greeted_first, stage[v] == GREETING);
	RULE(R_no_own_leave, p != v);
	RULE(R_leave_of_known, believes(v, p));
	RULE(R_leave_of_gone, has(dead[v], p));
	judge_between(v, p);
	row(v, p) = GONE;
	dead[v] = dead[v] & ~bit_of(p);
}

/* The server has nothing to tell to @v: then @v knows who is there. */
inline judge_view(v)
{
	RULE(R_told_all, stage[v] == GREETING && !dead[v]);
	i = 0;
	do
	:: i < IDS ->
		if
		:: public(i) && has(forced, i) && row(v, i) == GONE -> /* W-10: not told of it */
#if REACH == 5
			RULE(REACHED, false)
#endif
		:: public(i) && !(has(forced, i) && row(v, i) == GONE) ->
			RULE(R_told_all, row(v, i) == VECTORS)
		:: else ->
			RULE(R_told_all, !believes(v, i))
		fi;
		i++
	:: else -> break
	od
}

/* met = ids that somebody who is there has met, or has; believed = ids that somebody believes in */
inline look_at_tables()
{
	met = there;
	believed = there;
	i = 0;
	do
	:: i < IDS ->
		met_n[i] = 0;
		j = 0;
		do
		:: j < IDS ->
			if
			:: row(j, i) -> met = met | bit_of(i); met_n[i]++
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

/* The server gives @id to somebody new, or refuses (NOBODY). */
inline judge_join(id, is_silent)
{
	look_at_tables();
	if
	:: id == NOBODY ->
#if REACH == 4
		RULE(REACHED, false);
#endif
		RULE(R_refused_only_full, believed == bit_of(IDS) - 1);
#ifndef MAY_REFUSE
		RULE(R_ids_suffice, false)
#endif
	:: else ->
		RULE(R_first_id_is_0, there || id == 0);
		RULE(R_id_is_free, !has(there, id));
		RULE(R_id_not_believed, !has(believed, id));
		set = ~met & (bit_of(IDS) - 1);
		from = 0;
		find_first();
		RULE(R_lowest_unmet_id, found == IDS || found == id);
		if
		:: found == IDS ->
			i = 0;
			do
			:: i < IDS ->
				RULE(R_fewest_met, has(believed, i) || met_n[i] >= met_n[id]);
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
		:: there -> RULE(REACHED, !has(used, id) || found == IDS)
		:: else -> used = 0
		fi;
		used = used | bit_of(id);
#endif
#ifdef JOINS
		joins++;
#endif
		there = there | bit_of(id);
		silent = silent | is_silent << id
	fi
}

/* @v has left, and its memory with it. */
inline leave_truth(v)
{
	there = there & ~bit_of(v);
#ifdef JOINS
	if
	:: !there -> joins = 0
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
/* By id: what the client that has it was told. */
byte greeting[IDS], known[IDS], heard[IDS], at_id[IDS], at_vector[IDS], cursor[IDS];
byte self_after[IDS];
bit knows_self[IDS];
#if BUG == 5
byte leak;
#endif

#if BUG == 1
#define NEWS(v) (visible & ~known[v])
#define KEEP taken
#elif BUG == 4
#define NEWS(v) (visible & ~known[v])
#define KEEP there
#elif BUG == 5
#define NEWS(v) (visible & ~heard[v])
#define KEEP (stale | leak)
#elif BUG == 10
#define NEWS(v) (visible & ~known[v])
#define KEEP stale
#elif BUG == 12
#define NEWS(v) (visible & ~heard[v])
#define KEEP taken
#else
#define NEWS(v) (visible & ~heard[v])
#define KEEP stale
#endif

#define middle(v) (at_id[v] != NOBODY && has(visible, at_id[v]))
#define joins_due(v) (NEWS(v) & ~bit_of(v))
#define leaves_due(v) (known[v] & ~visible)
#define anything_due(v)                                                                          \
	(greeting[v] < GREETING || middle(v) || leaves_due(v) || joins_due(v) || !knows_self[v])

/* best = the id for somebody new, or NOBODY */
inline choose_id()
{
	taken = there;
	stale = there;
	i = 0;
	do
	:: i < IDS -> taken = taken | known[i]; stale = stale | heard[i]; i++
	:: else -> break
	od;
	best = 0;
	do
	:: best < IDS && has(KEEP, best) -> best++
	:: else -> break
	od;
	if
	:: best < IDS
#if BUG == 17
	:: else
#else
	:: else ->
		/* Of those that are not taken the one of which the fewest have heard. */
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
	told_id = best;
	judge_join(told_id, is_silent);
	if
	:: told_id != NOBODY ->
		at_id[told_id] = NOBODY;
		knows_self[told_id] = is_silent;
#if BUG == 3
		visible = visible | bit_of(told_id)
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

inline tell_greeting(v)
{
	hear_greeting(v, greeting[v]);
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

inline tell_vector(v)
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
		self_after[v] = 0 /* not read any more: fewer states */
	:: else
	fi;
	hear_vector(v, at_id[v], at_vector[v]);
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
		at_id[v] = NOBODY;
		at_vector[v] = 0
	:: else
	fi
}

inline tell_leave(v)
{
	set = leaves_due(v);
	from = 0;
	find_first();
	told_id = found;
#if BUG != 8 && BUG != 15
	at_id[v] = NOBODY;
	at_vector[v] = 0;
#endif
#if BUG != 16
	known[v] = known[v] & ~bit_of(told_id);
#endif
	hear_leave(v, told_id)
}

/* Others in the order of ids from the cursor upwards, once around; its own turn when the cursor has
 * passed those who were visible when the greeting was complete. */
inline tell_join(v)
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
	RULE(R_something_to_tell, found < IDS);
	at_id[v] = found;
	at_vector[v] = 0;
	tell_vector(v)
}

/*
 * Only for fewer states: cursors that lead to the same messages become one. Ids that were heard of
 * are never news again.
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

/* The socket of @v takes one message. */
inline tell(v)
{
	if
#if BUG == 14
	:: greeting[v] < GREETING && (greeting[v] == 0 || !joins_due(v)) -> tell_greeting(v)
	:: greeting[v] > 0 && greeting[v] < GREETING && joins_due(v) -> tell_join(v)
#else
	:: greeting[v] < GREETING -> tell_greeting(v)
#endif
#if BUG == 6
	:: greeting[v] == GREETING && !middle(v) && (joins_due(v) || !knows_self[v]) -> tell_join(v)
	:: greeting[v] == GREETING && !middle(v) && !(joins_due(v) || !knows_self[v]) -> tell_leave(v)
	:: greeting[v] == GREETING && middle(v) -> tell_vector(v)
#elif BUG == 8
	:: greeting[v] == GREETING && leaves_due(v) -> tell_leave(v)
	:: greeting[v] == GREETING && !leaves_due(v) && middle(v) -> tell_vector(v)
	:: greeting[v] == GREETING && !leaves_due(v) && !middle(v) -> tell_join(v)
#else
	:: greeting[v] == GREETING && middle(v) -> tell_vector(v)
	:: greeting[v] == GREETING && !middle(v) && leaves_due(v) -> tell_leave(v)
	:: greeting[v] == GREETING && !middle(v) && !leaves_due(v) -> tell_join(v)
#endif
	fi
}

/* After every step. */
inline judge_views()
{
	n = 0;
	do
	:: n < IDS ->
		if
		:: has(there, n) && !anything_due(n) -> judge_view(n)
		:: else
		fi;
		n++
	:: else -> break
	od
}

/* ---- What happens ---- */

#ifdef JOINS
#define may_join (count_there < PEERS && joins < JOINS)
#else
#define may_join (count_there < PEERS)
#endif

#define count_there \
	(has(there, 0) + has(there, 1) + has(there, 2) + has(there, 3) + has(there, 4) + \
	 has(there, 5) + has(there, 6))

active proctype door()
{
end:	do
	:: d_step { !stopped && may_join -> join(0); judge_views(); skip }
#ifdef SILENT
	:: d_step { !stopped && may_join -> join(1); judge_views(); skip }
#endif
#ifdef LIVE
	:: atomic {
		!stopped ->
		select(deaf : 0 .. (bit_of(IDS) - 1));
		deaf = deaf & there;
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
	:: d_step { !stopped && has(there, me) -> leave(me); judge_views(); skip }
	:: d_step {
		has(there, me) && wakes(me) && !has(deaf, me) ->
		tell(me);
		merge_cursors(me);
		judge_views();
		skip
	}
	od
}

#ifdef LIVE
#define settled(id) (!has(there, id) || has(deaf, id) || !anything_due(id))
#if IDS == 3
#define all_settled (settled(0) && settled(1) && settled(2))
#elif IDS == 4
#define all_settled (settled(0) && settled(1) && settled(2) && settled(3))
#endif
ltl settles { [] (stopped -> <> [] all_settled) }
#endif
