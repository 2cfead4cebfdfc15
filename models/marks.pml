/* Marks belong to (name, key). A speaker's machine is replaced under its name by one with another key, an administrator
 * is revoked; the first ones have said the highest number that there is. A receiver keeps marks on its disk, loses its
 * power, and is told policy, list and words in any order.
 *
 * Keys of the speaker's name: 1 the first machine, 2 the one that replaces it. Signers of policy: 1 the administrator
 * that is revoked, 2 the root key. Numbers go to HIGH, which nobody comes to that counts by ones.
 * "STEP …": what is done to the receiver, for who plays it on the code (tests/unit/models/test_played_marks.py).
 * Defences: NO_KEY NO_FLOOR NO_DISK_FIRST (of the speaker's words); NO_FORGET NO_AGAIN NO_MARK (of policy's versions).
 */
#ifndef FAULTS
#define FAULTS 2
#endif
#define HIGH 7
#define MAX(a, b) ((a) > (b) -> (a) : (b))
byte faults = FAULTS, tricks = 2;
bool over = false;
byte current = 1, known = 1;                      /* the name's key by policy, and by the policy that the receiver has */
byte made[3];                                     /* the newest generation of each key */
byte floor[3], had[3];                            /* on the disk; what it ever took of each, which is not kept anywhere */
byte heard_key, heard;                            /* in RAM */
byte taking_key, taking;                          /* taken, and its mark not on the disk yet */
bool on = true, older = false;
bool revoked = false, told = false;               /* the administrator; and the receiver has the list */
byte signed_[3], mark[3], force_by, force;        /* versions: signed, on the disk, in force */
bool back = false;                                /* a version was acted on below one of a key that counts */

#ifdef NO_FLOOR
#define MINIMUM(k) 0
#else
#ifdef NO_KEY
#define MINIMUM(k) MAX(floor[1], floor[2])
#else
#define MINIMUM(k) floor[k]
#endif
#endif
#ifdef NO_FORGET
#define MARK MAX(mark[1], mark[2])
#else
#define MARK MAX((told -> 0 : mark[1]), mark[2])
#endif
#ifdef NO_AGAIN
#define AGAIN false
#else
#define AGAIN (told && force_by == 1)             /* what is in force counts no more */
#endif
#define COUNTS(s) ((s) == 2 || !told)

inline take(k, x) {
#ifdef NO_DISK_FIRST
  older = older || x < had[k]; had[k] = MAX(had[k], x); heard_key = k; heard = x; taking_key = k; taking = x
#else
  taking_key = k; taking = x
#endif
}
inline keep() {
  floor[taking_key] = MAX(floor[taking_key], taking);
#ifndef NO_DISK_FIRST
  older = older || taking < had[taking_key]; had[taking_key] = MAX(had[taking_key], taking);
  heard_key = taking_key; heard = taking;
#endif
  taking = 0; taking_key = 0
}

active proctype receiver() {
  byte x;
  do
  :: atomic { !on -> printf("STEP boot\n"); on = true; heard = 0; heard_key = 0; taking = 0; taking_key = 0; force = mark[force_by] }
  :: atomic { on && taking > 0 -> keep() }
  :: atomic { on && taking == 0 && known != current -> printf("STEP key_%d\n", current); known = current; heard = 0; heard_key = 0 }
  /* the newest word of the name's key, which comes until it is heard */
  :: atomic { on && taking == 0 && (made[known] >= MINIMUM(known)) && made[known] > 0 && (heard_key != known || heard != made[known]) ->
              printf("STEP word_%d_%d\n", known, made[known]); take(known, made[known]) }
  /* an older one, repeated or late */
  :: atomic { on && taking == 0 && tricks > 0 && made[known] > 1 -> printf("STEP word_%d_1\n", known); tricks--; x = 1;
              if :: (x >= MINIMUM(known)) -> take(known, x) :: else fi }
  /* policy: a version of whoever counts, above the marks of those that count */
  :: atomic { on && COUNTS(1) && (signed_[1] > MARK) -> printf("STEP version_1_%d\n", signed_[1]); force_by = 1; force = signed_[1]; mark[1] = signed_[1] }
#ifdef NO_MARK
  :: atomic { on && tricks > 0 && force_by == 2 && force > 1 -> printf("STEP version_2_%d\n", force - 1); tricks--; force = force - 1; back = true }
#endif
  :: atomic { on && (signed_[2] > MARK || (AGAIN && signed_[2] == MARK)) ->
              printf("STEP version_2_%d\n", signed_[2]); back = back || (!told && signed_[2] < mark[1]); force_by = 2; force = signed_[2]; mark[2] = signed_[2] }
  :: atomic { on && revoked && !told -> printf("STEP told\n"); told = true }
  :: atomic { !over && faults > 0 && on -> printf("STEP crash\n"); faults--; on = false }
  od
}

active proctype others() {
  made[1] = 1;
  if :: made[1] = HIGH :: made[1] = 2 :: skip fi;            /* the first machine lies, or not */
  signed_[1] = 1;
  if :: signed_[1] = HIGH :: skip fi;                        /* so does the administrator */
  atomic { revoked = true; signed_[2] = 2 };
  atomic { made[2] = 1; current = 2 };
  made[2] = 2;
  signed_[2] = 3;
  atomic { over = true; on = true }
}

ltl no_older { [] !older }
ltl heard_again { <> [] (on && heard_key == 2 && heard == made[2]) }
ltl no_step_back { [] !back }
ltl last_policy { <> [] (force_by == 2 && force == signed_[2]) }
