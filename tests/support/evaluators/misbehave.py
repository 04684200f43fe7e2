#!/usr/bin/env python3
"""An evaluator that goes wrong on request.

The first argument says how it starts ("well", or a way to fail); after that each candidate's
"behave" says how it answers.  The objective is always named "f".
"""
import json
import os
import signal
import sys
import tempfile
import time

BEHAVIOURS = [
    "answer", "late", "exit", "killed", "hang", "garbage", "half", "flood", "wrong_id", "twice",
    "no_id", "nan", "infinity", "missing", "text", "infeasible", "transient", "fatal",
    "odd_error", "metric_nan", "negative_stderr", "progress", "close", "deep", "stderr_flood",
    "quit_politely", "bad_bytes", "echo", "cost", "fork", "allocate", "burn", "big_file",
]


def write(text):
    sys.stdout.write(text)
    sys.stdout.flush()


def send(message):
    write(json.dumps(message) + "\n")


def hello(**changes):
    send({
        "paretod": 1, "type": "hello", "evaluator": "misbehave", "slots": 4,
        "space": [{"name": "behave", "type": "categorical", "choices": BEHAVIOURS},
                  {"name": "x", "type": "real", "low": -10, "high": 10}],
        "objectives": [{"name": "f", "goal": "minimize"}],
        "metrics": ["pid"],
        "fidelity": {"unit": "samples", "default": 7},
        "params": {"factor": {"type": "number", "default": 2, "minimum": 0, "maximum": 100,
                              "description": "what x is multiplied by"}},
        **changes,
    })


def result(request, value, **extra):
    send({"type": "result", "id": request["id"], "objectives": {"f": value},
          "metrics": {"pid": os.getpid()}, **extra})


def error(request, kind):
    send({"type": "error", "id": request["id"], "kind": kind, "message": "asked to be " + kind})


def fork_hanging_child():
    pid = os.fork()
    while pid == 0:
        time.sleep(3600)
    return pid


def answer(request):
    how = request["candidate"]["behave"]
    value = request["candidate"]["x"] * request["params"]["factor"]
    if how == "answer":
        result(request, {"value": value, "stderr": 0.5, "n": request["fidelity"]})
    elif how == "late":
        LATE.append(request)
    elif how == "exit":
        sys.stderr.write("out of cheese\n")
        sys.exit(7)
    elif how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "hang":
        pass
    elif how == "garbage":
        write("loading the model...\n")
    elif how == "half":
        write('{"type":"result","id":"' + request["id"][:1])
        time.sleep(0.02)
        write(request["id"][1:] + '","objectives":{"f":' + str(value))
        time.sleep(0.02)
        write("}}\r\n")
    elif how == "flood":
        while True:
            write("x" * 65536)
    elif how == "wrong_id":
        send({"type": "result", "id": "nobody:1:1", "objectives": {"f": 1}})
    elif how == "twice":
        result(request, value)
        result(request, value)
    elif how == "no_id":
        send({"type": "result", "objectives": {"f": 1}})
    elif how == "nan":
        result(request, float("nan"))
    elif how == "infinity":
        result(request, {"value": float("-inf")})
    elif how == "missing":
        send({"type": "result", "id": request["id"], "objectives": {"g": 1}})
    elif how == "text":
        result(request, "12")
    elif how == "infeasible" or how == "transient" or how == "fatal":
        error(request, how)
    elif how == "odd_error":
        error(request, "sad")
    elif how == "metric_nan":
        send({"type": "result", "id": request["id"], "objectives": {"f": 1},
              "metrics": {"loss": float("nan")}})
    elif how == "negative_stderr":
        result(request, {"value": 1, "stderr": -1})
    elif how == "progress":
        for done in range(100):
            send({"type": "progress", "id": request["id"], "done": done / 100,
                  "partial": {"f": {"value": done, "n": done}}, "examples": {"f": [done]}})
        result(request, value)
        send({"type": "progress", "id": request["id"], "done": 1})  # overtaken
    elif how == "cost":
        result(request, value, cost={"seconds": 9, "tokens": 5, "money_micros": 70},
               examples={"f": [1, 0, 1]})
    elif how == "fork":
        children = [fork_hanging_child() for _ in range(4)]
        sys.stderr.write(" ".join(map(str, children)) + "\n")
        sys.stderr.flush()
    elif how == "allocate":
        result(request, len(bytearray(1 << 30)))
    elif how == "burn":
        while True:
            pass
    elif how == "big_file":
        with tempfile.TemporaryFile() as file:
            file.write(bytes(2 << 20))
            file.flush()
        result(request, value)
    elif how == "close":
        os.close(1)
        time.sleep(3600)
    elif how == "deep":
        write('{"type":"result","id":"' + request["id"] + '","objectives":' + "[" * 100000 + "\n")
    elif how == "stderr_flood":
        for i in range(40000):
            sys.stderr.write("line %d\n" % i)
        sys.stderr.flush()
        result(request, value)
    elif how == "quit_politely":
        result(request, value)
        sys.exit(0)
    elif how == "bad_bytes":
        sys.stdout.buffer.write(b"\xff\xfe\x00 not text\n")
        sys.stdout.flush()
    elif how == "echo":
        result(request, value, echo=request)
        sys.stderr.write(json.dumps(request, sort_keys=True) + "\n")
        sys.stderr.flush()


LATE = []  # requests that are answered, in reverse order, once a cancel arrives


def main():
    start = sys.argv[1]
    if start == "exit":
        sys.stderr.write("first\nno such model: resnet\n")
        sys.exit(3)
    if start == "silent":
        time.sleep(3600)
    if start == "chatty":
        write("Loading weights\n")
    if start == "typo":
        hello(slot=3)
    if start == "version":
        hello(paretod=2)
    if start == "bad_space":
        hello(space=[{"name": "x", "type": "real", "low": 2, "high": 1}])
    if start == "unequal":
        hello(slots=1 + int(os.environ["PARETOD_PROCESS"]))
    if start == "environment":
        sys.stderr.write("\n".join(sorted(os.environ)))
        sys.exit(1)
    if start == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            sys.stderr.write("grandchild %d\n" % os.getpid())
            sys.stderr.flush()
            while True:
                time.sleep(3600)
    if start == "once":  # says hello the first time only
        marker = sys.argv[2]
        if os.path.exists(marker):
            sys.stderr.write("the licence server is gone\n")
            sys.exit(5)
        with open(marker, "w"):
            pass
    hello()
    for line in sys.stdin:
        request = json.loads(line)
        if request["type"] == "cancel":
            while LATE:
                result(LATE.pop(), 1)
        else:
            answer(request)
    if start == "stubborn":
        time.sleep(3600)


main()
