"""The benches make the records that they measure."""

from __future__ import annotations

from bench import ledger, pages
from remediate.records import stored_form


def test_the_records_of_the_benches_are_records() -> None:
    made = [*ledger._records(2), *(record for record, _ in pages._lives(2))]
    assert [stored_form.decode(stored_form.encode(each)) for each in made] == made
    assert {each.storage.version for each in made} == {1}
