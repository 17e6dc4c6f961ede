"""Instruction sets of the processor that matter for transformers, on x86 and ARM."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from edgetran.devices.sysfs import read_text

RELEVANT: Final = (
    # x86: wide vectors, 8-bit dot products, bf16, fp16 and matrix tiles
    "sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512vl",
    "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "amx_fp16",
    # ARM: vectors, fp16, dot products, bf16, 8-bit matrix products, scalable vectors and matrices
    "neon", "asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2", "svebf16", "svei8mm",
    "sme", "sme2",
)  # fmt: skip
"""Names as /proc/cpuinfo prints them."""


def instruction_sets(root: Path | str = "/") -> tuple[str, ...]:
    """The relevant sets that /proc/cpuinfo lists, in the order of `RELEVANT`; () elsewhere."""
    for line in (read_text(Path(root) / "proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            flags = set(value.split())
            return tuple(name for name in RELEVANT if name in flags)
    return ()
