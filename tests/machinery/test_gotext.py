"""Objects as upstream's structs print them."""

from pynetes.machinery.schema import gotext, types


def test_all_members_stand_under_their_go_names() -> None:
    """What is not set is null, or the zero of its type where it is no pointer."""
    shown = gotext.shown(types.named("api.core.v1.PersistentVolumeClaimSpec"), {"accessModes": ["ReadWriteOnce"]})
    assert list(shown)[:4] == ["AccessModes", "Selector", "Resources", "VolumeName"]
    assert shown["VolumeName"] == ""
    assert shown["StorageClassName"] is None


def test_host_namespaces_move_into_the_security_context() -> None:
    """The internal pod spec has no hostNetwork of its own."""
    shown = gotext.shown(types.named("api.core.v1.PodSpec"), {"hostNetwork": True})
    assert "HostNetwork" not in shown
    assert shown["SecurityContext"]["HostNetwork"] is True


def test_a_difference_shows_three_lines_around() -> None:
    """The text is a unified diff without the names of files."""
    type_ = types.named("api.core.v1.EphemeralContainer")
    old, new = ({"name": "c", "image": image} for image in ("a", "b"))
    text = gotext.diff(gotext.shown(type_, old), gotext.shown(type_, new))
    assert text.startswith(
        '@@ -1,6 +1,6 @@\n {\n  "Name": "c",\n- "Image": "a",\n+ "Image": "b",\n  "Command": null,\n'
    )
