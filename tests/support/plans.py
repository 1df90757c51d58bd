"""Recipes of the TensorRT plans that tests build."""

from __future__ import annotations

from streamkind.backends import plans
from streamkind.backends.cards import named_card
from streamkind.model.released import find_release

HEIGHT, WIDTH = 48, 64


def recipe_of(part="steady", model="kind", **options):
    options = {"size": (WIDTH, HEIGHT), "batch": (1, 4, 8), "sm": "sm_89"} | options
    card = named_card(options.pop("sm"))
    release = find_release(model)
    return plans.write_recipe(release, part, card=card, library="tensorrt_rtx", **options)
