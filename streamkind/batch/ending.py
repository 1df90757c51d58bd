"""Ends a job: joins its parts, and gives the complete output its name."""

from __future__ import annotations

import contextlib
from pathlib import Path

from streamkind.batch.journal import Job, Journal, write
from streamkind.batch.work import Outcome, check_space, encoding, source_of
from streamkind.errors import InputError
from streamkind.platform import replace as rename
from streamkind.platform import sync
from streamkind.video.join import join
from streamkind.video.others import Part
from streamkind.video.storage import fingerprint, is_local, local_file, remove_folder


def finish(job: Job, journal: Journal, outcomes: list[Outcome]) -> list[str]:
    """Join the parts, give the complete output its name, and remove the job's folder."""
    made = {i: Part(job.part(i), o.frames, o.end_pts) for i, o in enumerate(outcomes) if o.frames}
    if not any(journal.video(i) is None for i in made):
        raise InputError(f"{job.input} has no frame that can be decoded; nothing was written")
    if fingerprint(job.input) != journal.input:  # parts of two videos may have been joined
        raise InputError(
            f"{job.input}: changed while it was enhanced; expected a finished file. Is it still"
            " being recorded? Run the same command again when it no longer changes"
        )
    check_space(job.output, sum(part.path.stat().st_size for part in made.values()))
    if is_local(job.output):
        whole = job.folder / f"whole{job.output.suffix}"
        warnings = make(job, journal, made, whole)
        write(job.receipt, job.make_receipt(whole, journal.input))
        rename(whole, job.output)
        sync(job.output.parent)  # before the parts are removed
    else:
        with local_file(job.output) as whole:
            warnings = make(job, journal, made, whole)
            write(job.receipt, job.make_receipt(whole, journal.input))
    remove_folder(job.folder)
    return warnings


def make(job: Job, journal: Journal, made: dict[int, Part], path: Path) -> list[str]:
    """Write the output to the file `path`. Return warnings. `made` has the parts by number."""
    if journal.still:
        path.write_bytes(made[0].path.read_bytes())
        return []
    main = [part for i, part in made.items() if journal.video(i) is None]
    with contextlib.ExitStack() as opened:
        source = opened.enter_context(source_of(job))
        others = [
            (opened.enter_context(source_of(job, video=video)), part)
            for i, part in made.items()
            if (video := journal.video(i)) is not None
        ]
        return join(path, source, main, others, **encoding(job, source.format))
