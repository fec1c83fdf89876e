"""The data set in the formats of the field: SA-V (JSON) and DAVIS (folders of pictures)."""

from storage.exports.common import ExportMasklet
from storage.exports.davis import export_davis
from storage.exports.sav import export_sav

__all__ = ["ExportMasklet", "export_davis", "export_sav"]
