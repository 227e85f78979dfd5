"""LPIPS under the name that 3DGS code imports it by."""

from gaussian_splatting.losses.lpips import lpips

__all__ = ["lpips"]
