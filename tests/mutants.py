#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""mutants.py [-v] [NAME...]: takes one rule at a time out of the code and sees that a test fails without it.

Works on a copy of the tree in a temporary folder. A mutant names its rule, the file, the text that is replaced (which must be there,
once) and the test that must fail: a program of the build, or a script (run with the command and its helper from the build; a script that
skips has seen nothing). Each of these tests must pass on the code as it is, first of all. Prints a line each, with -v also the end of
what the test said; exit status 1 when a mutant survives or no longer applies. Half a minute a mutant; some need root.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parent.parent
EXPLORE = ["tests/test_explore", "--images", "20000"]
FAIL_NTH = ["tests/test_fail_nth"]
RECOVER = ["tests/test_recover"]
RECOVER_NTH = ["tests/test_recover_nth"]
PARITY = ["tests/test_parity"]
LIVE = ["tests/test_live"]
SEALED = ["tests/test_sealed"]
RULES = "tests/test_mp_rules"
ROLE = "tests/test_mp_role"
ENVIRONMENT = "tests/env/test_env.py"

# name: rule, file, text, replacement, test
MUTANTS = {
    "no-epoch-record": (
        "R1", "src/engine/commit.c",
        "if (!engine->writer.epoch_fresh || engine->writer.epoch <= 1) return 0;", "return 0;", EXPLORE),
    # Neither condition alone: after a restart LSNs go on at the ceiling, so an old frame's LSN is lower as well as its epoch.
    "any-frame-follows": (
        "R2", "src/engine/recover.c",
        "return header->epoch >= writer->epoch && header->lsn_first > writer->written_lsn && header->id_next >= writer->id_next;",
        "(void)writer;\n    return header->epoch != 0;", EXPLORE),
    "damage-is-a-torn-tail": (
        "R3", "src/engine/recover.c", "    if (durable_lsn > writer->written_lsn) {", "    if (false) {", PARITY),
    "heads-not-restored": (
        "R4", "src/engine/frame.c",
        "        if (rst_draft_external(engine, draft))\n            err = rst_blocks_write(",
        "        if (false)\n            err = rst_blocks_write(", EXPLORE),
    "extent-within-the-tail": (
        "R5", "src/engine/requests.c", "    writer->chunk_tail = place.offset + size;\n", "", EXPLORE),
    "no-new-chunk": (
        "R5", "src/engine/recover.c", "    if (dropped || (same_boot && !writer->closed && writer->written_lsn)) {", "    if (false) {",
        [RULES, "a_slow_client_of_a_lost_region_overwrites_nothing"]),
    "any-place-is-an-extent": (
        "R5", "src/engine/commit.c",
        '        if (err) return rst_fail(ROOST_EINVAL, "a large payload does not lie in an extent that was granted for it");\n',
        "        (void)err;\n", [RULES, "only_ones_own_extent_can_be_committed"]),
    "anybodys-extent": (
        "R5", "src/engine/commit.c", " ||\n                     granted.header.extra != client))", "))",
        [RULES, "only_ones_own_extent_can_be_committed"]),
    "void-not-passed-over": (
        "R5", "src/store/scan.c", "if (whole && item.record.header.kind == RST_RECORD_VOID &&", "if (false &&",
        [RULES, "what_lies_in_a_void_is_no_record"]),
    "ring-written-over": (
        "R6", "src/engine/frame.c", "    return used < engine->log.size ? engine->log.size - used : 0;",
        "    (void)used;\n    return engine->log.size;", [RULES, "a_log_that_cannot_be_freed_is_not_written_over"]),
    "log-not-secured": (
        "R6", "src/engine/commit.c", " || frame + reserve > rst_frame_log_room(engine)) return ROOST_EAGAIN;",
        ") return ROOST_EAGAIN;\n    (void)frame, (void)reserve;", [RULES, "a_log_that_cannot_be_freed_is_not_written_over"]),
    "arena-not-looked-at": (
        "R6", "src/engine/commit.c", "if (need > rst_arena_room(engine) || frame", "if (frame",
        [RULES, "an_arena_that_fills_up_makes_room_first"]),
    "arena-not-made-real": (
        "R6", "src/engine/commit.c", "    int err = rst_arena_secure(engine, need);\n    if (err == ROOST_ENOSPC)",
        "    int err = 0;\n    if (err == ROOST_ENOSPC)", [RULES, "an_arena_that_fills_up_makes_room_first"]),
    "chunks-not-synced": (
        "R7", "src/engine/checkpoint.c", "    if (!err) err = rst_checkpoint_sync_chunks(engine);\n", "", EXPLORE),
    "half-a-checkpoint": (
        "R7", "src/engine/recover.c",
        "        if (!err) rst_region_write_writer(rst_commit_region(engine), &engine->writer);\n", "", RECOVER),
    "frame-behind-a-stop": (
        "R7", "src/engine/commit.c", "    if (!err && (err = rst_broken(engine)) != 0) fail_items(items, err);\n", "", RECOVER_NTH),
    "no-ceilings": (
        "R8", "src/engine/recover.c",
        "    if (!writer->closed) {\n        if (writer->lsn_ceiling_written",
        "    if (false) {\n        if (writer->lsn_ceiling_written", EXPLORE),
    "shown-ahead-of-ceilings": (
        "R8", "src/engine/commit.c", "(durable || fresh || ahead)", "durable", EXPLORE),
    "stopped-goes-on": (
        "R9", "src/engine/recover.c", "    if (err && broken) rst_region_set_broken(region, broken);\n", "", RECOVER),
    "no-rewrite-after-failed-sync": (
        "R9", "src/engine/recover.c", "    int err = rst_commit_rewrite(engine);", "    int err = 0;", FAIL_NTH),
    "reserve-never-given-up": (
        "R9", "src/engine/commit.c", "    rst_reserve_give(engine->root_directory);\n    engine->reserve_kept = false;",
        "    engine->reserve_kept = false;", [ENVIRONMENT, "Limits.test_forget_on_a_full_tmpfs"]),
    "a-copy-is-the-original": (
        "R10", "src/engine/attach.c",
        "    return engine->log.header.device != engine->identity.device || engine->log.header.inode != engine->identity.inode;",
        "    (void)engine;\n    return false;", PARITY),
    "linked-before-it-is-whole": (
        "R10", "src/store/log.c",
        "    int err = fill_new(file, header);\n    if (!err) err = link_log(file, directory);",
        "    int err = link_log(file, directory);\n    if (!err) err = fill_new(file, header);", EXPLORE),
    "region-of-the-caller": (
        "R10", "src/engine/attach.c", "    identity->uid = stat.uid;", "    identity->uid = rst_os->user_id();",
        [ENVIRONMENT, "Users.test_root_opens_a_users_root"]),
    "any-state-wal-is-the-root": (
        "R10", "src/engine/attach.c", "    if (err || stat.device != engine->device || stat.inode != engine->inode)", "    if (false)",
        [ENVIRONMENT, "Copies.test_removed_while_open"]),
    "no-look-after-the-byte-lock": (
        "R11", "src/engine/attach.c", "if (!err && (engine->log.header.region_nonce != nonce || marked)) err = ROOST_ENOENT;",
        "(void)nonce, (void)marked;", [RULES, "a_region_that_goes_while_attaching_is_noticed"]),
    "the-dead-live": (
        "R12", "src/region/participants.c", "return rst_os->probe_byte(log_file, RST_LOCK_SLOT_OFFSET + slot) != 0;",
        "(void)log_file, (void)slot;\n    return 1;", [ROLE, "a_killed_parent_frees_the_role_though_its_child_lives"]),
    "lane-not-drained": (
        "R13", "src/engine/slot.c", "dirty ? drain_predecessor(engine, deadline) : 0;",
        "dirty && false ? drain_predecessor(engine, deadline) : 0;",
        [RULES, "a_lane_is_drained_before_it_is_used_again"]),
    "successor-makes-the-dead-live": (
        "R14", "src/engine/states.c",
        "if (!client || version < rst_load_u64(&slot->owner_version)) return false;", "(void)version;\n    if (!client) return false;",
        ["tests/test_mp_states", "a_value_lives_as_long_as_who_published_it"]),
    "latch-not-verified": (
        "R14", "src/region/latch.c",
        "        if (rst_load_relaxed_u64(latch.sequence) == sequence) return true;", "        return true;",
        [RULES, "a_value_that_changes_while_it_is_read_is_not_torn"]),
    "live-links-followed": (
        "R15", "src/index/live_parts.h",
        "    if (offset < live->data_offset || offset > bound || bound - offset < size) return NULL;\n",
        "    (void)bound, (void)size;\n", LIVE),
    "sealed-offsets-followed": (
        "R15", "src/index/sealed.c",
        "        return corrupt(sealed, dictionary->terms.offset + at, \"a term's bytes lie outside their section\");", "        {}",
        SEALED),
    "lane-entries-followed": (
        "R15", "src/region/lanes.c",
        "    if (offset < pool_begin || offset > pool_end || size > pool_end - offset) return false;\n",
        "    return true;\n", [RULES, "garbage_in_a_lane_hurts_nobody"]),
    "any-object-is-the-region": (
        "R15", "src/region/region.c",
        "    return stat->kind == RST_FILE_REGULAR && stat->uid == identity->uid && stat->link_count == 1;",
        "    (void)stat, (void)identity;\n    return true;", [ENVIRONMENT, "Planted.test_planted"]),
    "no-second-look": (
        "R16", "src/engine/role.c", "    if (!rst_broken(engine) && !limited(engine) && ", "    if (false && ",
        ["tests/test_mp_second_look"]),
    "never-rests": (
        "R18", "src/engine/role.c", "    if (wanted || (!hold && now - engine->last_work_ns >= idle)) {", "    if (wanted) {",
        [ROLE, "serving_others_does_not_keep_the_role"]),
    "serving-keeps-the-role": (
        "R18", "src/engine/commit.c", "        if (own) engine->last_work_ns", "        engine->last_work_ns",
        [ROLE, "serving_others_does_not_keep_the_role"]),
    "no-consumed-list": (
        "R19", "src/engine/frame.c",
        "        rst_buffer_add(&engine->frame_body, &consumed, sizeof consumed);\n", "        continue;\n", EXPLORE),
    "unanswered-passed-over": (
        "R19", "src/engine/recover.c",
        "    err = walk_frames(engine, completed, rst_commit_answer_frame);\n    if (err) return err;\n",
        "    err = walk_frames(engine, completed, rst_commit_answer_frame);\n", RECOVER_NTH),
    "requests-passed-over": (
        "R19", "src/region/lanes.c", "        if (next < item->sequence && unanswered(", "        if (false && unanswered(",
        [RULES, "a_request_before_a_write_is_answered_by_the_heir"]),
    "heir-trusts-the-cache": (
        "R20", "src/engine/recover.c", "    if (!err && unsynced) {\n        err = rst_recover_unsynced(engine);\n",
        "    if (!err && unsynced) {\n", FAIL_NTH),
    "chunks-half-synced": (
        "R20", "src/engine/recover.c", "    if (!err && writer->syncing_chunk) err = rst_recover_chunks(engine);\n", "", FAIL_NTH),
    "shown-before-synced": (
        "R21", "src/engine/commit.c",
        "    if (!err && (durable || fresh || ahead)) err = rst_commit_sync(engine);\n", "", EXPLORE),
    "refusals-not-stored": (
        "R22", "src/engine/frame.c", "            .result = item->answer.result,", "            .result = 0,",
        [RULES, "an_heir_does_not_decide_again"]),
    "refusals-forgotten-by-replay": (
        "R22", "src/engine/recover.c", "consumed.id, consumed.result, 0}", "consumed.id, 0, 0}",
        [RULES, "a_replay_does_not_decide_again"]),
    "decided-again": (
        "R22", "src/engine/frame.c",
        "        rst_buffer_add(&engine->frame_body, &consumed, sizeof consumed);\n", "        continue;\n",
        [RULES, "an_heir_does_not_decide_again"]),
    "replaced-memory-not-stored": (
        "R22", "src/model/decide.c", "            record->extra = old.number;\n", "", EXPLORE),
    "stream-index-not-stored": (
        "R22", "src/model/decide.c", "    record->number = found ? head.number : 0;\n", "", EXPLORE),
    "arena-recycled-unnoticed": (
        "R23", "src/engine/read.c",
        "    return used_arena && now.arena_epoch[arena] != reader->snapshot.arena_epoch[arena] ? ROOST_EAGAIN : 0;",
        "    (void)used_arena, (void)arena;\n    return 0;", [RULES, "a_reader_notices_that_its_arena_was_recycled"]),
    "merged-away-is-final": (
        "R23", "src/engine/read.c", "        if (err != ROOST_ENOENT) return err;\n    }", "        return err;\n    }",
        [RULES, "a_segment_that_was_merged_away_is_no_damage"]),
    "tombstones-go-early": (
        "R24", "src/index/seal.c", "i < count && !builder->seal->oldest; i++", "i < 0 && i < count; i++", SEALED),
    "deleted-keys-go-early": (
        "R24", "src/index/seal.c", " || !builder->seal->oldest) add_map_entry", ") add_map_entry", SEALED),
    "every-segment-is-the-oldest": (
        "R24", "src/engine/checkpoint.c", "        .oldest = first == 0,", "        .oldest = true,",
        [RULES, "a_small_segment_keeps_the_tombstones_of_a_large_one"]),
    "forgotten-is-damage": (
        "R24", "src/api/read.c", "    if (err == ROOST_ECORRUPT) {", "    if (false) {",
        [RULES, "a_memory_that_was_forgotten_is_no_damage"]),
}


SKIPPED = 77


def run(arguments, folder, seconds, environment=None):
    """The exit status, and the end of what was said."""
    try:
        done = subprocess.run(arguments, cwd=folder, timeout=seconds, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              check=False)
        return done.returncode, done.stdout.decode(errors="replace").splitlines()[-8:]
    except subprocess.TimeoutExpired:
        return "a time-out", []


def build_and_run(test, tree, build):
    """None when it does not compile."""
    script = test[0].endswith(".py")
    status, said = run(["ninja", "-C", build, *(["roost", "tests/env_agent"] if script else test[:1])], tree, 600)
    if status != 0:
        return None, said
    if not script:
        return run([build / test[0], *test[1:]], build, 300)
    environment = {**os.environ, "ROOST_BIN": str(build / "roost"), "ROOST_AGENT": str(build / "tests/env_agent"),
                   "PYTHONDONTWRITEBYTECODE": "1"}
    return run([sys.executable, tree / test[0], *test[1:]], build, 300, environment)


def main():
    verbose = "-v" in sys.argv[1:]
    names = [name for name in sys.argv[1:] if name != "-v"] or list(MUTANTS)
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # some tests run the command as another user
        tree = pathlib.Path(folder) / "tree"
        shutil.copytree(TOP, tree, ignore=shutil.ignore_patterns("build*", ".git", "__pycache__"))
        build = pathlib.Path(folder) / "build"
        subprocess.run(["meson", "setup", build, tree, "--buildtype=debugoptimized"], check=True, capture_output=True)
        for test in sorted({tuple(MUTANTS[name][4]) for name in names}):
            status, said = build_and_run(test, tree, build)
            if status != 0:
                print(f"UNUSABLE  {' '.join(test)} ends with {status} on the code as it is", *said, sep="\n    ", flush=True)
                return 1
        for name in names:
            rule, file, text, replacement, test = MUTANTS[name]
            path = tree / file
            original = path.read_text(encoding="utf-8")
            if original.count(text) != 1:
                print(f"STALE     {rule:4} {name}: the text stands {original.count(text)} times in {file}", flush=True)
                survivors += 1
                continue
            path.write_text(original.replace(text, replacement), encoding="utf-8")
            status, said = build_and_run(test, tree, build)
            path.write_text(original, encoding="utf-8")
            fine = status not in (None, 0, SKIPPED)
            verdict = "does not compile" if status is None else f"{' '.join(test)} ends with {status}"
            print(f"{'killed' if fine else 'SURVIVED':9} {rule:4} {name}: {verdict}", flush=True)
            if verbose or status is None:
                print(*said, sep="\n", flush=True)
            survivors += not fine
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
