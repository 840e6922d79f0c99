"""``export``: a policy, or a drive, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driving.commands.arguments import check_writable
from driving.export import FORMATS, export
from driving.models import checkpoint
from sim.drive import load_table
from sim.errors import BadInputError, one_line
from sim.lerobot import write_lerobot

OF_DRIVES = ("lerobot",)


def export_(
    out: Annotated[Path, typer.Option(help="Folder of what is exported.")],
    policy: Annotated[str | None, typer.Option(help="Name or folder of a policy.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of a drive.")] = None,
    format_name: Annotated[
        str | None, typer.Option("--format", help=f"Of a policy {', '.join(FORMATS)}; of a drive lerobot.")
    ] = None,
) -> None:
    """Write a policy for other programs, as ONNX (for the runtime without PyTorch) or torch.export; or a drive.

    Example: liquid-lane export --policy ltc19 --out exported/ltc19
    """
    if (policy is None) == (data is None):
        raise BadInputError("export: give a policy by --policy or a drive by --data")
    if data is not None:
        if format_name not in (None, *OF_DRIVES):
            raise BadInputError(f"--format: expected {', '.join(OF_DRIVES)} for a drive, got {one_line(format_name)}")
        drive = load_table(data)
        write_lerobot(drive, out)
        print(f"{out}: {len(drive):,} frames, {len(drive.segments())} episode(s)")
        return
    format_name = format_name or next(iter(FORMATS))
    assert policy is not None
    check_writable(out / "policy.json")
    paths, worst = export(checkpoint.load(policy), out, Path(policy).name, format_name)
    print(f"Written: {', '.join(map(str, paths))}; largest difference to PyTorch {worst:.1e}")
