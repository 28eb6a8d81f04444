#!/usr/bin/env python3
"""Prints alphabets.tab: src/render/alphabets.py FOLDER, where FOLDER holds the PyPI package gsmcodecs 1.0.0, unpacked."""
import sys

sys.path.insert(0, sys.argv[1] + "/src")
from gsmcodecs.charmaps import GSMCHARMAPS  # noqa: E402

LANGUAGES = ["default", "tr", "es", "pt", "bn", "gu", "hi", "kn", "ml", "or", "pa", "ta", "te", "ur"]
ESCAPE = 0x1B


def ranges(letters):
    """`0041-005a` for neighbours, `00e9` for one alone."""
    found = []
    for letter in sorted(letters):
        if found and found[-1][1] == letter - 1:
            found[-1][1] = letter
        else:
            found.append([letter, letter])
    return " ".join(f"{a:04x}" if a == b else f"{a:04x}-{b:04x}" for a, b in found)


print("# Letters of the 7-bit alphabets of SMS by language: `locking` costs one septet a letter, `shift` two.")
print("# Source: 3GPP TS 23.038 18.0.0, 6.2.1 and annex A. Made anew by src/render/alphabets.py.")
for number, language in enumerate(LANGUAGES):
    for table, name in [("locking", "locking"), ("singleShift", "shift")]:
        decode = GSMCHARMAPS[number].get(table, {}).get("decode", {})
        letters = {letter for septet, letter in decode.items() if septet != ESCAPE}
        if letters:
            print(language, name, ranges(letters))
