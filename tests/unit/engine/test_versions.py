from __future__ import annotations

from importlib.metadata import version

from int8cal.engine.versions import deciding_packages


def test_versions_are_those_of_the_installed_distributions():
    found = deciding_packages()
    assert set(found) == {"h5py", "imagecodecs", "isal", "numpy", "pillow", "simplejpeg"}
    assert found == {name: version(name) for name in found}
