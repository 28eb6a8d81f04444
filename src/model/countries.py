#!/usr/bin/env python3
"""Prints countries.tab from the system's zone.tab and compiled zones: src/model/countries.py 2025b

Two zones keep the same rules from now on if the rules at the end of their files are the same.
"""
import sys

FOLDER = "/usr/share/zoneinfo/"


def rules(zone):
    with open(FOLDER + zone, "rb") as file:
        return file.read().rstrip(b"\n").rsplit(b"\n", 1)[-1]


countries = {}
with open(FOLDER + "zone.tab", encoding="ascii") as table:
    for line in table:
        if not line.startswith("#"):
            country, _, zone = line.rstrip("\n").split("\t")[:3]
            countries.setdefault(country, {}).setdefault(rules(zone), zone)
print(
    "# Countries (ISO 3166-1 alpha-2) and their time zones. Of zones that keep the same rules from now on the first stands here."
)
print(f"# Source: zone.tab and the zones of tzdata {sys.argv[1]} (in the public domain). Made anew by src/model/countries.py.")
for country in sorted(countries):
    print(country, *countries[country].values())
