"""Holds what came in against what was answered, what the receivers got, and what the logs say.

Every file in WORK/in must have its answers in WORK/out and its bytes in WORK/archived; every row exactly one
result line; no message may have reached a receiver twice, unless it is of a file of which the operator chose that; what is reported sent must have arrived, and what
arrived must be reported sent or unknown; unknown are only rows that a start named.
"""
import argparse
import collections
import csv
import glob
import json
import os
import re
import sys

options = argparse.ArgumentParser()
options.add_argument("work")
options.add_argument("--wire", type=int, help="messages that may be on the wire at one crash")
options.add_argument("--crashes", type=int, default=0, help="crashes that there were")
options.add_argument("--in-recovery", type=int, default=0, help="of these, starts that were cut short")
options.add_argument("--again", help="pattern of files whose rows are sent again when in doubt")
options.add_argument("--title", default="")
options.add_argument("--quiet", action="store_true", help="say nothing where all is well")
options = options.parse_args()
work, problems = options.work, []


def table(path):
    return list(csv.DictReader(open(path, newline="", encoding="utf-8")))


def lines_of(path):
    return open(path, encoding="utf-8", errors="replace") if os.path.exists(path) else []


mails = [open(path, "rb").read() for path in glob.glob(f"{work}/mail/*")]
# A message that a crash cut short of its last line is in a dump, but nobody has received it.
at_sink = {
    "email": [re.search(rb"(?mi)^Message-ID:\s*<([^>]+)>", mail).group(1).decode()
              for mail in mails if b"Text of row" in mail],
    # What was refused was not received; of a client that went away before the answer nobody knows.
    "sms": [json.loads(entry["body"])["ref"] for entry in map(json.loads, lines_of(f"{work}/http.log"))
            if entry["status"] not in (503, 422)],
    "viber": [name.removesuffix(".json") for name in os.listdir(f"{work}/sent") if not name.startswith(".")]
    if os.path.isdir(f"{work}/sent") else [],
}
rows, status, repeated = 0, collections.Counter(), 0
# Messages that may come again, and under which id: the same as the first time.
may_repeat = set()
sent, unknown, batches = collections.defaultdict(set), collections.defaultdict(set), collections.Counter()
for source in sorted(glob.glob(f"{work}/in/*.csv")):
    name = os.path.basename(source)
    wanted = [row["row_id"] for row in table(source)]
    if not os.path.exists(f"{work}/out/{name}.ack.csv"):
        problems.append(f"{name}: never answered")
        continue
    acks = table(f"{work}/out/{name}.ack.csv")
    if len(acks) != 1 or acks[0]["state"] not in ("ACCEPTED", "DUPLICATE"):
        problems.append(f"{name}: ack {acks}")
    repeated += acks[0]["state"] == "DUPLICATE"
    lines = table(f"{work}/out/{name}.result.csv")
    if [line["row_id"] for line in lines] != wanted or [int(line["row"]) for line in lines] != list(range(1, len(wanted) + 1)):
        problems.append(f"{name}: {len(wanted)} rows, but {len(lines)} result lines or another order")
    summary = table(f"{work}/out/{name}.summary.csv")[0]
    counted = collections.Counter(line["status"] for line in lines)
    if any(int(summary[s] or 0) != counted[s] for s in ("sent", "submitted", "unknown")) or int(summary["rows_total"]) != len(wanted):
        problems.append(f"{name}: summary {summary} but {counted}")
    rows += len(wanted)
    status += counted
    answers = {os.path.basename(path).removeprefix(name + ".") for path in glob.glob(f"{work}/out/{name}.*")}
    if answers != {"ack.csv", "result.csv", "final.csv", "summary.csv"}:
        problems.append(f"{name}: answers {sorted(answers)}")
    kept = glob.glob(f"{work}/archived/*_{name}")
    if [open(path, "rb").read() for path in kept] != [open(source, "rb").read()]:
        problems.append(f"{name}: the archive holds {kept}")
    for line in lines:
        if options.again and re.match(options.again, name):
            may_repeat.add(line["message_id"])
            if line["status"] == "unknown":
                problems.append(f"{name}: unknown, though it is sent again: {line}")
        if line["status"] in ("sent", "submitted"):
            sent[line["channel"]].add(line["message_id"])
            if name.startswith("messages_chain") and line["channels_tried"] != "whatsapp>sms":
                problems.append(f"{name}: another path than it was asked to go: {line}")
        elif line["status"] == "unknown":
            unknown[line["channel"]].add(line["message_id"])
            batches[summary["batch_id"]] += 1
            if line["code"] != "delivery.outcome_unknown":
                problems.append(f"{name}: unknown without its code: {line}")
        else:
            problems.append(f"{name}: status {line['status']} {line['code']} of row {line['row']}")
extra = {channel: {m: n - 1 for m, n in collections.Counter(got).items() if n > 1} for channel, got in at_sink.items()}
doubled = {channel: [m for m in more if m not in may_repeat] for channel, more in extra.items()}
again = sum(n for more in extra.values() for m, n in more.items() if m in may_repeat)
lost, unreported, arrived = 0, 0, 0
for channel, got in at_sink.items():
    got = set(got)
    lost += len(sent[channel] - got)
    unreported += len(got - sent[channel] - unknown[channel])
    arrived += len(unknown[channel] & got)
# Every start names the rows of which it cannot be known whether they went out.
named, most, calm = collections.Counter(), 0, []
calm_file = f"{work}/after-sigterm"
if os.path.exists(calm_file):
    calm = open(calm_file).read().split()
for log in glob.glob(f"{work}/serve.*.log"):
    text = re.sub(r"\x1b\[[0-9;]*m", "", open(log, encoding="utf-8", errors="replace").read())
    # Where its disk was dead already, sled may fall over it: no matter.
    if re.search(r"panicked at (?!\S*/sled-)", text):
        problems.append(f"a panic in {log}")
    found = re.findall(r"rows were on the wire.*?\bbatch=(\w+).*?\brows=(\d+)", text)
    here = sum(int(n) for _, n in found)
    most = max(most, here)
    for batch, n in found:
        named[batch] += int(n)
    if here and log.split(".")[-2] in calm:
        problems.append(f"{here} rows unknown after a SIGTERM: {log}")
# A crash during recovery may come between its work and its words.
unnamed = [f"{n - named[batch]} of {batch}" for batch, n in batches.items() if n > named[batch]]
if len(unnamed) > options.in_recovery: problems.append(f"rows unknown that no start named: {unnamed}")
all_unknown = sum(map(len, unknown.values()))
if lost: problems.append(f"{lost} rows reported sent never arrived")
if unreported: problems.append(f"{unreported} messages arrived of rows not reported sent or unknown")
if any(doubled.values()): problems.append(f"sent twice: {doubled}")
if options.wire is not None:
    if most > options.wire: problems.append(f"{most} rows unknown after one crash, but only {options.wire} can be on the wire")
    if again > options.crashes * options.wire: problems.append(f"{again} messages came again after {options.crashes} crashes")
    if all_unknown > options.crashes * options.wire: problems.append(f"{all_unknown} rows unknown after {options.crashes} crashes")
    if named.total() > all_unknown: problems.append(f"{named.total()} unknown rows were logged, {all_unknown} reported")
if not options.crashes and all_unknown: problems.append(f"{all_unknown} rows unknown without a crash")
files = len(glob.glob(f"{work}/in/*.csv"))
if problems or not options.quiet:
    print(f"{options.title}files {files} ({repeated} uploaded again, DUPLICATE)  rows {rows}  "
          + "  ".join(f"{s} {n}" for s, n in sorted(status.items())))
    print(f"received: email {len(at_sink['email'])}  sms {len(at_sink['sms'])}  folder {len(at_sink['viber'])}")
    print(f"unknown {all_unknown} ({arrived} had arrived; at most {most} a crash"
          + (f", {options.wire} may be on the wire" if options.wire is not None else "")
          + f")  lost {lost}  doubled {sum(map(len, doubled.values()))}"
          + (f"  sent again as the operator chose {again}" if options.again else ""))
for problem in problems:
    print("PROBLEM", problem[:2000])
sys.exit(bool(problems))
