"""How pytest takes the plugin: markers, versions, mistakes, and several workers at once."""

import pytest

ONE = """
import pytest

@pytest.mark.kubernetes(nodes=3)
def test_three(cluster, namespace):
    assert len(cluster.list("nodes")) == 3

def test_two(cluster, namespace, kubeconfig):
    assert len(cluster.list("nodes")) == 2
    assert kubeconfig == cluster.kubeconfig

@pytest.mark.kubernetes(nodes=3)
def test_three_again(cluster):
    assert len(cluster.list("nodes")) == 3

@pytest.mark.kubernetes(version="9.99")
def test_of_the_future(cluster):
    raise AssertionError
"""


def test_each_test_gets_the_cluster_it_asks_for(pytester: pytest.Pytester) -> None:
    """Equal wishes share one; what needs a newer Kubernetes is skipped with both versions told."""
    pytester.makepyfile(ONE)
    result = pytester.runpytest_subprocess("-rs", "-p", "pynetes.testing.plugin")
    result.assert_outcomes(passed=3, skipped=1)
    result.stdout.fnmatch_lines(["*needs Kubernetes 9.99, this is v1.36*"])


def test_a_typo_in_the_marker_is_told(pytester: pytest.Pytester) -> None:
    """With the test, the word and those that there are."""
    pytester.makepyfile("import pytest\n\n@pytest.mark.kubernetes(node=3)\ndef test_it(cluster):\n    pass\n")
    result = pytester.runpytest_subprocess("-p", "pynetes.testing.plugin")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*has no node; it takes nodes, store, clock and version*"])


def test_workers_have_a_cluster_each(pytester: pytest.Pytester) -> None:
    """pytest-xdist: no port, file or name is shared."""
    pytest.importorskip("xdist")
    body = "def test_{0}(cluster, namespace):\n    assert cluster.list('pods', namespace='') == []\n"
    pytester.makepyfile("\n".join(body.format(number) for number in range(4)))
    result = pytester.runpytest_subprocess("-n", "2", "-p", "pynetes.testing.plugin")
    result.assert_outcomes(passed=4)
