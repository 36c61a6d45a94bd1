# SPDX-License-Identifier: BSD-3-Clause
"""The searches of both models that check.py performs. README.md explains them."""
import dataclasses


@dataclasses.dataclass
class Run:
    """One search. rule: the rule whose violation it must find, or None if it must find no
    violation. fair: every peer that can take a step takes one eventually."""
    name: str
    what: str
    defines: str
    rule: str = None
    size: str = ""
    fair: bool = False


#: Defines with enough peers and ids for the runs of the roster that must find an error
SMALL = "PEERS=3 IDS=4 "

ROSTER_PROOFS = [
    Run("all", "3 peers of 2 vectors, 3 ids; joins in the order of the cursor",
        "PEERS=3 IDS=3 VECTORS=2 CURSOR"),
    Run("four-ids", "3 peers of 1 vector, 4 ids", "PEERS=3 IDS=4 VECTORS=1 GREETING=1"),
    Run("none-quiet", "3 peers of 2 vectors, none of them quiet, 4 ids",
        "PEERS=3 IDS=4 VECTORS=2 NONE_QUIET"),
    Run("all-quiet", "3 peers of 2 vectors, all of them quiet, 4 ids",
        "PEERS=3 IDS=4 VECTORS=2 GREETING=1 ALL_QUIET"),
    Run("many-ids", "3 peers of 1 vector, 6 ids, up to 5 joins before the server is empty again",
        "PEERS=3 IDS=6 VECTORS=1 GREETING=1 JOINS=5"),
    Run("silent", "3 peers of 0 or 1 vectors, 3 ids", "PEERS=3 IDS=3 VECTORS=1 SILENT"),
    Run("live", "3 peers of 1 vector, 3 ids: a client that reads receives everything eventually",
        "PEERS=3 IDS=3 VECTORS=1 GREETING=1 LIVE"),
    Run("live-cursor", "the same, with joins in the order of the cursor, for 2 peers of 2 vectors",
        "PEERS=2 IDS=3 VECTORS=2 GREETING=1 LIVE CURSOR"),
    Run("all-4", "3 peers of 2 vectors, 4 ids", "PEERS=3 IDS=4 VECTORS=2 GREETING=1",
        size="slow"),
    Run("cursor-4", "3 peers of 1 vector, 4 ids; joins in the order of the cursor",
        "PEERS=3 IDS=4 VECTORS=1 GREETING=1 CURSOR", size="slow"),
    Run("silent-4", "3 peers of 0 or 1 vectors, 4 ids",
        "PEERS=3 IDS=4 VECTORS=1 GREETING=1 SILENT", size="slow"),
    Run("live-2", "3 peers of 2 vectors, 3 ids: a client that reads receives everything eventually",
        "PEERS=3 IDS=3 VECTORS=2 GREETING=1 LIVE", size="slow"),
    Run("four-peers", "4 peers of 1 vector, 4 ids, up to 5 joins before the server is empty again",
        "PEERS=4 IDS=4 VECTORS=1 GREETING=1 JOINS=5", size="slow"),
]

ROSTER_BREAKS = [
    Run("bug-1", "a quiet client is sent leaves", SMALL + "BUG=1", "R_quiet"),
    Run("bug-2", "a leave in the middle of a peer's vectors is lost",
        SMALL + "BUG=2", "R_all_announced"),
    Run("bug-3", "a client is visible before its greeting was sent", SMALL + "BUG=3", "R_public"),
    Run("bug-4", "the next owner of a known id replaces the previous one without a leave",
        SMALL + "BUG=4", "R_leave_before_return"),
    Run("bug-4b", "the same, found by another rule", SMALL + "BUG=4", "R_all_announced"),
    Run("bug-5", "a seat stays vacant after the last quiet client that knew it has left",
        SMALL + "BUG=5", "R_seat_is_needed"),
    Run("bug-5b", "the same, found by another rule", SMALL + "BUG=5", "R_first_id_is_0"),
    Run("bug-6", "joins are sent before leaves", SMALL + "BUG=6", "R_leaves_before_joins"),
    Run("bug-7", "a client's own vectors are sent first", SMALL + "BUG=7", "R_own_vectors_last"),
    Run("bug-8", "leaves are sent in the middle of another peer's vectors", SMALL + "BUG=8",
        "R_nothing_between"),
    Run("bug-9", "the search for joins does not wrap around at the last id",
        SMALL + "CURSOR BUG=9", "R_something_to_send"),
    Run("bug-10", "a quiet client forgets a seat that was given up", SMALL + "BUG=10",
        "R_one_seat"),
    Run("bug-11", "peers without vectors are visible", SMALL + "SILENT BUG=11", "R_public"),
    Run("bug-12", "the lowest id without a seat is assigned, even if it is known",
        SMALL + "BUG=12", "R_lowest_unknown_id"),
    Run("bug-13", "a leave does not wake the clients that must receive it",
        "PEERS=3 IDS=3 GREETING=1 LIVE BUG=13", "acceptance cycle"),
    Run("bug-14", "joins are sent in the middle of the greeting", SMALL + "BUG=14",
        "R_greeted_first"),
    Run("bug-15", "the position in a peer's vectors is kept after the peer's leave was sent",
        SMALL + "BUG=15", "R_vector_order"),
    Run("bug-16", "a leave is sent again and again", SMALL + "BUG=16", "R_leave_of_known"),
    Run("bug-17", "every client is refused when all ids are known", SMALL + "BUG=17",
        "R_refused_only_full"),
    Run("bug-18", "when all ids are known, the lowest one without a seat is assigned",
        SMALL + "BUG=18", "R_fewest_know"),
    Run("bug-19", "the position in a seat's vectors is kept after the seat was given up",
        SMALL + "BUG=19", "R_one_seat"),
    Run("bug-20", "a quiet client is not sent the rest of a vacant seat", SMALL + "BUG=20",
        "R_all_announced"),
    Run("bug-21", "a seat that a quiet client knows is given up at once", SMALL + "BUG=21",
        "R_seat_stays"),
    Run("bug-22", "when all ids are known, a vacant seat's id is assigned with other eventfds",
        SMALL + "BUG=22", "R_id_is_free"),
    Run("bug-23", "a quiet client is sent the vectors of a seat's next owner", SMALL + "BUG=23",
        "R_vector_order"),
    Run("bug-24", "an id stays outdated after the leave was sent", SMALL + "BUG=24",
        "R_something_to_send"),
    Run("bug-24b", "the same, found by another rule", SMALL + "BUG=24", "R_leave_of_gone"),
    Run("bug-25", "a seat can be taken after it was given up", SMALL + "BUG=25",
        "R_seat_is_vacant"),
    Run("bug-26", "the leave of a partly announced peer is sent after leaves of lower ids",
        SMALL + "BUG=26", "R_nothing_between"),
    Run("bug-27", "a vacant seat stays visible", SMALL + "BUG=27", "R_public"),
    Run("bug-28", "a client that takes a seat is told only what the previous client was not",
        SMALL + "BUG=28", "R_all_announced"),
    Run("bug-29", "the greeting is sent in another order", SMALL + "BUG=29", "R_greeting_order"),
    Run("bug-30", "a seat is kept although quiet clients have other eventfds for its id",
        SMALL + "BUG=30", "R_seat_is_whole"),
]

ROSTER_REACHES = [
    Run("reach-1", "a vacant seat is taken", SMALL + "REACH=1", "REACHED"),
    Run("reach-2", "all ids are known, so a client gets an id that others know",
        SMALL + "REACH=2", "REACHED"),
    Run("reach-3", "a peer leaves in the middle of its vectors", SMALL + "REACH=3", "REACHED"),
    Run("reach-4", "a client is refused", "PEERS=3 IDS=3 VECTORS=1 GREETING=1 REACH=4", "REACHED"),
    Run("reach-5", "an id's next owner is not announced to a quiet client that knows the id",
        SMALL + "REACH=5", "REACHED"),
    Run("reach-6", "a quiet client is sent the rest of a vacant seat", SMALL + "REACH=6",
        "REACHED"),
    Run("reach-7", "a quiet client is sent the rest of a seat whose next owner is not visible yet",
        SMALL + "REACH=7", "REACHED"),
    Run("reach-8", "a partly announced peer's leave is sent when the id's next owner is visible",
        SMALL + "REACH=8", "REACHED"),
    Run("reach-9", "a seat is not kept, as quiet clients that know its id have other eventfds",
        SMALL + "REACH=9", "REACHED"),
]

#: Defines of a lane for the runs that must find an error
PAIR = "SLOTS=2 DEATHS "
ASLEEP = "invalid end state"  # spin's name for peers that wait for each other
FENCES = "with a store instead of a publication"

LANE_PROOFS = [
    Run("two-slots", "2 slots; one peer is killed at any time", "SLOTS=2 LAPS=2 DEATHS"),
    Run("four-slots", "4 slots", "SLOTS=4 LAPS=2"),
    Run("delivers", "2 slots: the peers do not only wake each other, but messages arrive",
        "SLOTS=2 LAPS=2 LIVE", fair=True),
    Run("two-slots-4", "2 slots; one peer is killed at any time; numbers of 4 laps",
        "SLOTS=2 DEATHS", size="slow"),
    Run("two-slots-noise", "2 slots; one peer is killed, and others ring, at any time",
        "SLOTS=2 LAPS=2 DEATHS NOISE", size="slow"),
    Run("four-slots-deaths", "4 slots; one peer is killed at any time",
        "SLOTS=4 LAPS=2 DEATHS", size="slow"),
    Run("eight-slots", "8 slots, of which the reader releases two before it tells the writer",
        "SLOTS=8 LAPS=2", size="slow"),
    Run("delivers-deaths", "2 slots, one peer is killed: the other does not run for ever",
        "SLOTS=2 LAPS=2 DEATHS LIVE", size="slow", fair=True),
]

LANE_BREAKS = [
    Run("lane-bug-1", f"the writer commits {FENCES}", PAIR + "BUG=1", ASLEEP),
    Run("lane-bug-2", f"the reader announces that it sleeps {FENCES}", PAIR + "BUG=2", ASLEEP),
    Run("lane-bug-3", f"the reader tells its position {FENCES}", PAIR + "BUG=3", ASLEEP),
    Run("lane-bug-4", f"the writer announces that it sleeps {FENCES}", PAIR + "BUG=4", ASLEEP),
    Run("lane-bug-5", "the reader does not look again before it sleeps", PAIR + "BUG=5", ASLEEP),
    Run("lane-bug-6", "the writer does not look again before it sleeps", PAIR + "BUG=6", ASLEEP),
    Run("lane-bug-7", "the writer does not ring a reader that sleeps", PAIR + "BUG=7", ASLEEP),
    Run("lane-bug-8", "the reader does not ring a writer that sleeps", PAIR + "BUG=8", ASLEEP),
    Run("lane-bug-9", "the writer takes one slot that was not released", PAIR + "BUG=9",
        "R_message_intact"),
    Run("lane-bug-9b", "the same, found by another rule", PAIR + "BUG=9", "R_word_possible"),
    Run("lane-bug-10", "the writer rings only once", PAIR + "BUG=10", ASLEEP),
    Run("lane-bug-11", "the writer commits before it writes the message", PAIR + "BUG=11",
        "R_message_intact"),
    Run("lane-bug-12", "the reader publishes its position before it reads the message",
        PAIR + "BUG=12", "R_message_intact"),
    Run("lane-bug-13", "the writer looks for a sleeping reader before it commits",
        PAIR + "BUG=13", ASLEEP),
    Run("lane-bug-14", "the reader does not look again when the writer has ended",
        PAIR + "BUG=14", "R_all_received"),
    Run("lane-bug-15", "the writer clears its doorbell after it has looked again",
        PAIR + "BUG=15", ASLEEP),
    Run("lane-bug-16", "a writer that closes does not ring", PAIR + "BUG=16", ASLEEP),
    Run("lane-bug-17", "the reader ignores the leave of the writer", PAIR + "BUG=17", ASLEEP),
    Run("lane-bug-18", "the reader does not tell that the lane is empty",
        "SLOTS=8 LAPS=2 BUG=18", "R_told_when_empty"),
    Run("lane-bug-19", "the server sends no leave", PAIR + "BUG=19", ASLEEP),
    Run("lane-bug-20", "the reader tells a position that is too high", PAIR + "BUG=20",
        "R_position_possible"),
    Run("lane-bug-21", "each doorbell is taken for a leave", PAIR + "BUG=21",
        "R_end_has_cause"),
    Run("lane-bug-22", "the writer does not clear its doorbell", "SLOTS=2 LAPS=2 BUG=22 LIVE",
        "acceptance cycle", fair=True),
    Run("lane-bug-23", "a flush waits only for room", PAIR + "BUG=23", "R_flushed"),
]

LANE_REACHES = [
    Run("lane-reach-1", "a message comes between the reader's look and its announcement",
        PAIR + "REACH=1", "REACHED"),
    Run("lane-reach-2", "both peers have announced that they sleep", PAIR + "REACH=2", "REACHED"),
    Run("lane-reach-3", "a reader that sleeps was rung for this position", PAIR + "REACH=3",
        "REACHED"),
    Run("lane-reach-4", "a reader that slept receives a message of a writer that was killed",
        PAIR + "REACH=4", "REACHED"),
]

RUNS = {"roster": ROSTER_PROOFS + ROSTER_BREAKS + ROSTER_REACHES,
        "lane": LANE_PROOFS + LANE_BREAKS + LANE_REACHES}
