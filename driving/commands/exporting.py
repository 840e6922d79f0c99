"""``export``: a policy for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driving.commands.arguments import PolicyOption, check_writable
from driving.export import FORMATS, export
from driving.models import checkpoint


def export_(
    policy: PolicyOption,
    out: Annotated[Path, typer.Option(help="Folder of the exported policy.")],
    format_name: Annotated[str, typer.Option("--format", help=f"{', '.join(FORMATS)}.")] = "onnx",
) -> None:
    """Write a policy for other programs: ONNX (for the runtime without PyTorch) or torch.export.

    Example: liquid-lane export --policy ltc19 --out exported/ltc19
    """
    check_writable(out / "policy.json")
    paths, worst = export(checkpoint.load(policy), out, Path(policy).name, format_name)
    print(f"Written: {', '.join(map(str, paths))}; largest difference to PyTorch {worst:.1e}")
