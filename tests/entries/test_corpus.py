"""Published error texts and log entries: each denial found with its member and repository, no look-alike granted.

The corpus lies beside a checkout and is no part of it; where it is absent these tests are skipped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from remediate.decisions.policy import Outcome, decide
from remediate.entries.denial import Denial, understand
from remediate.entries.envelope import entries_in
from remediate.entries.log_entry import read_entry
from remediate.errors import Unreadable
from tests.audit_entries import denial, system_event, understood
from tests.entries.corpus import CORPUS, ENTRIES, MESSAGES, NUMBER, published

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of published texts is not beside this checkout")


@pytest.mark.parametrize("message", MESSAGES, ids=[message["id"] for message in MESSAGES])
def test_a_published_text_is_a_denial_where_a_grant_cures_it_and_nowhere_else(message: dict[str, Any]) -> None:
    found = understood(published(message))
    assert isinstance(found, Denial) == (message["expect"] == "grant")
    if not isinstance(found, Denial):
        assert decide(found).outcome is Outcome.IGNORE
        return
    assert found.reader == message["denied"]
    if found.repository is None:
        assert decide(found).outcome is Outcome.ASK
        whole = [message[name] for name in ("project", "location", "repository")]
        assert None in whole
    else:
        expected = (message["project"], message["location"], message["repository"])
        assert (found.repository.project, found.repository.location, found.repository.name) == expected
    if message["denied"] == "service_agent" and found.member:
        assert found.member.run_agent_of == (message["agent_number"] or NUMBER)
    assert decide(found).outcome is not Outcome.GRANT


@pytest.mark.parametrize("path", ENTRIES, ids=[path.stem for path in ENTRIES])
def test_a_published_entry_is_a_denial_only_where_an_image_denial_was_put_into_it(path: Path) -> None:
    try:
        found = [understand(read_entry(raw)) for raw in entries_in(path.read_bytes())]
    except Unreadable:
        assert path.stem.startswith("envelope-")
        return
    denials = [one for one in found if isinstance(one, Denial)]
    assert len(denials) == path.stem.startswith("reconstructed-")
    for one in denials:
        assert one.repository
        assert (one.repository.project, one.repository.name, one.doubts) == ("img-prj", "img-repo", ())


def test_the_published_wordings_are_understood_in_our_own_entries_too() -> None:
    [text] = [message["text"] for message in MESSAGES if message["id"] == "A05"]
    assert denial(system_event(text, images=(), number="989728667853")).doubts == ()
