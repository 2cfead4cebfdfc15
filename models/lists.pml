/* Shortened revocation lists. X is removed; later its entry goes from the list, when every document that names X has
 * expired, and the list says up to which expiry that is. Router R may be off for any time, misses any documents and
 * lists, gets others in any order, and looks at no clock: its own may be wrong.
 *
 * Time counts by ones; a document is valid for LIFE of them. Documents signed before the removal name X.
 * Lists by version: 1 X is not removed, 2 names X, 3 X is on it no more, 4 a later one.
 * Defences: NO_EXPIRED NO_WAIT NO_KEEP NO_MONOTONE NO_RESIGN.
 * "STEP …": what a run does, for who plays it on the code (tests/unit/models/test_played_lists.py).
 */
#define LIFE 2
#define LAST 6
#ifndef FAULTS
#define FAULTS 2
#endif
byte faults = FAULTS, tricks = 2;
bool over = false;
byte now = 1;
byte signed_at = 1, removed_at = 0;               /* of R's newest document; 0: X is not removed yet */
byte until = 0;                                   /* the latest expiry of a document that names X */
byte version = 1, before = 0;                     /* the newest list: expired_before */
byte old_before[5];                               /* of each version that was ever signed */
byte doc = 1, list = 1;                           /* R's, on its disk: when its document was signed; the list's version */
bool on = true, heard = false;                    /* heard: it has had a list that X was removed by */

#define NAMES(d) (removed_at == 0 || (d) < removed_at)
#define EXPIRY(d) ((d) + LIFE)
#ifdef NO_EXPIRED
#define OUTDATED false
#else
#define OUTDATED (EXPIRY(doc) <= old_before[list])
#endif
#define ON_LIST (list == 2)
#define ACCEPTS (on && NAMES(doc) && !ON_LIST && !OUTDATED)
#ifdef NO_MONOTONE
#define NEWER(v) ((v) != list)
#else
#define NEWER(v) ((v) > list)
#endif

active proctype policy_server() {
  do
  :: atomic { now < LAST -> printf("STEP tick\n"); now++ }
  :: atomic { removed_at == 0 && now < LAST - 1 -> printf("STEP remove\n"); removed_at = now; until = EXPIRY(signed_at); version = 2; signed_at = now }
#ifdef NO_WAIT
  :: atomic { version == 2 -> printf("STEP shorten\n"); version = 3; before = now
#else
  :: atomic { version == 2 && until <= now -> printf("STEP shorten\n"); version = 3; before = until
#endif
#ifndef NO_RESIGN
              ; if :: EXPIRY(signed_at) <= now -> signed_at = now :: else fi
#endif
              ; old_before[3] = before }
#ifdef NO_KEEP
  :: atomic { version == 3 -> printf("STEP more\n"); version = 4; old_before[4] = 0 }
#else
  :: atomic { version == 3 -> printf("STEP more\n"); version = 4; old_before[4] = before }
#endif
  :: atomic { now == LAST && version == 4 -> over = true; on = true; break }
  od
}

active proctype router() {
  do
  :: atomic { !over && faults > 0 && on -> faults--; on = false }
  :: atomic { !over && !on -> on = true }
  /* the DKS gives the newest of each, one without the other */
  :: atomic { on && doc < signed_at -> printf("STEP document\n"); doc = signed_at }
  :: atomic { on && NEWER(version) && (version > list || tricks > 0) -> printf("STEP list_%d\n", version); if :: version < list -> tricks-- :: else fi; list = version; heard = heard || version > 1 }
  /* somebody repeats an older one */
  :: atomic { on && tricks > 0 && version > 2 && NEWER(2) -> printf("STEP list_2\n"); tricks--; list = 2; heard = true }
  :: atomic { on && tricks > 0 && version > 1 && NEWER(1) -> printf("STEP list_1\n"); tricks--; list = 1 }
  od
}

ltl gone_is_out { [] (heard -> !ACCEPTS) }
ltl not_alone { <> [] (over -> (on && list == version && !OUTDATED && !NAMES(doc))) }
