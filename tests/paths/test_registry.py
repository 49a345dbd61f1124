"""The registry holds the contract's 29 paths, each once, and checks speak of no other."""

from pynetes.paths import checks, registry


def test_all_29_paths_are_declared_in_order() -> None:
    """Numbers 1 to 29; the mTLS row stands beside them."""
    assert [path.number for path in registry.PATHS] == list(range(1, 30))
    assert registry.MTLS.label == "mtls"


def test_paths_are_found_by_number_and_by_name() -> None:
    """What a person may write, and what not."""
    assert registry.find("17") == registry.PATHS[16]
    assert registry.find("MTLS") == registry.MTLS
    assert registry.find("30") is None


def test_every_check_names_declared_paths_and_none_twice() -> None:
    """A path is exercised by one check."""
    numbers = [number for check in checks.load() for number in check.numbers]
    assert len(numbers) == len(set(numbers))
    assert set(numbers) <= {path.number for path in (*registry.PATHS, registry.MTLS)}
