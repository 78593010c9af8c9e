"""Opening workspaces and keeping their embed secrets."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from connect_app import embed_secrets
from connect_app.errors import Conflict, NotFound
from connect_app.modes import Mode
from connect_app.runtime import Runtime
from connect_app.stripe_gateway.objects import Account
from connect_app.workspaces import accounts, directory, openings, secrets


def account(id: str = "acct_1", name: str | None = "Acme Notes") -> Account:
    return Account(id=id, name=name, email="ann@acme.example", country="US", default_currency="usd", timezone=None, raw={})


def opened(rt: Runtime, of: Account | None = None, mode: Mode = Mode.TEST) -> openings.Opened:
    with rt.transaction() as session:
        return openings.create(
            session, account=of or account(), mode=mode, scope="read_write", now=rt.now(), ring=rt.ring, by="stripe:acct_1"
        )


def verifying(rt: Runtime, workspace_id: str, later: timedelta = timedelta()) -> list[tuple[str, str]]:
    with rt.transaction(workspace_id) as session:
        return embed_secrets.verifying(session, workspace_id, rt.now() + later, rt.ring)


def test_a_new_workspace_has_its_flows_its_secret_and_its_work(rt: Runtime) -> None:
    place = opened(rt).place

    assert (place.slug, place.name) == ("acme-notes", "Acme Notes")
    [(mode, secret)] = verifying(rt, place.id)
    assert mode == "test"
    assert secret.startswith("hf_embed_test_")
    with rt.transaction(place.id) as session:
        kinds = set(session.execute(text("select kind from flows")).scalars())
        due = set(session.execute(text("select kind from work")).scalars())
        verbs = list(session.execute(text("select verb from audit_log order by id")).scalars())
        assert secret.encode() not in session.execute(text("select sealed from embed_secrets")).scalar_one()
    assert kinds == {"default", "control"}
    assert due >= {"read_in", "check_connection"}
    assert {"workspace.created", "connection.made", "embed_secret.minted"} <= set(verbs)


def test_one_account_opens_one_workspace_however_many_come_at_once(rt: Runtime) -> None:
    def attempt(_: int) -> str:
        try:
            return opened(rt).place.slug
        except accounts.Taken:
            return "taken"

    with ThreadPoolExecutor(6) as pool:
        ends = sorted(pool.map(attempt, range(6)))

    assert ends == ["acme-notes"] + ["taken"] * 5
    with rt.transaction() as session:
        assert session.execute(text("select count(*) from workspaces")).scalar_one() == 1


def test_one_account_may_be_connected_in_both_modes_by_different_workspaces(rt: Runtime) -> None:
    assert opened(rt, mode=Mode.TEST).place.slug == "acme-notes"
    assert opened(rt, mode=Mode.LIVE).place.slug == "acme-notes-2"


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Acme Notes", "acme-notes"),
        ("  Café Zoë’s  GmbH & Co. ", "cafe-zoes-gmbh-co"),
        ("日本語", "workspace"),
        ("--", "workspace"),
        ("a" * 200, "a" * 40),
        ("Ann's <script>", "anns-script"),
    ],
)
def test_a_slug_is_read_off_the_name(name: str, slug: str) -> None:
    assert directory.slug_of(name) == slug


@given(st.text())
def test_every_name_makes_a_slug_of_the_grammar(name: str) -> None:
    slug = directory.slug_of(name)

    assert slug == slug.strip("-")
    assert 0 < len(slug) <= 40
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


@given(st.one_of(st.none(), st.text()))
def test_every_account_has_a_name_that_can_be_written_on_one_line(name: str | None) -> None:
    shown = accounts.name_of(account(name=name))

    assert shown
    assert shown.isprintable()


def test_an_account_name_with_control_characters_opens_a_workspace(rt: Runtime) -> None:
    assert opened(rt, account(name="Ac\x00me\r\nBcc: x")).place.name == "AcmeBcc: x"


def test_a_secret_is_shown_once(rt: Runtime) -> None:
    workspace_id = opened(rt).place.id
    with rt.transaction(workspace_id) as session:
        [known] = secrets.listing(session, workspace_id, rt.now())
        assert not known.is_shown
        value = secrets.reveal(session, workspace_id, known.id, ring=rt.ring, now=rt.now(), by="usr_1")
    assert verifying(rt, workspace_id) == [("test", value)]
    assert known.last4 == value[-4:]
    with rt.transaction(workspace_id) as session:
        assert secrets.listing(session, workspace_id, rt.now())[0].is_shown
    with pytest.raises(Conflict, match="secret_was_shown"), rt.transaction(workspace_id) as session:
        secrets.reveal(session, workspace_id, known.id, ring=rt.ring, now=rt.now(), by="usr_1")
    with rt.transaction(workspace_id) as session:
        shown = session.execute(text("select count(*) from audit_log where verb = 'embed_secret.shown'")).scalar_one()
    assert shown == 1


def test_a_rotated_secret_works_one_more_day(rt: Runtime) -> None:
    workspace_id = opened(rt).place.id
    [(_, old)] = verifying(rt, workspace_id)

    with rt.transaction(workspace_id) as session:
        new = secrets.rotate(session, workspace_id, Mode.TEST, ring=rt.ring, now=rt.now(), by="usr_1").value

    assert new != old
    assert verifying(rt, workspace_id, timedelta(hours=23, minutes=59)) == [("test", new), ("test", old)]
    assert verifying(rt, workspace_id, timedelta(hours=24, minutes=1)) == [("test", new)]
    with rt.transaction(workspace_id) as session:
        assert [known.is_shown for known in secrets.listing(session, workspace_id, rt.now())] == [True, False]


def test_two_rotations_at_once_never_end_the_secret_that_is_deployed(rt: Runtime) -> None:
    workspace_id = opened(rt).place.id
    [(_, deployed)] = verifying(rt, workspace_id)

    def rotate(_: int) -> bool:
        try:
            with rt.transaction(workspace_id) as session:
                secrets.rotate(session, workspace_id, Mode.TEST, ring=rt.ring, now=rt.now(), by="usr_1")
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(rotate, range(6))) == 1

    assert ("test", deployed) in verifying(rt, workspace_id)
    assert len(verifying(rt, workspace_id)) == 2


def test_a_revoked_secret_ends_at_once_and_a_new_one_can_be_minted(rt: Runtime) -> None:
    workspace_id = opened(rt).place.id
    with rt.transaction(workspace_id) as session, pytest.raises(Conflict, match="secret_exists"):
        secrets.mint(session, workspace_id, Mode.TEST, ring=rt.ring, now=rt.now(), by="usr_1")
    with rt.transaction(workspace_id) as session:
        [known] = secrets.listing(session, workspace_id, rt.now())
        secrets.revoke(session, workspace_id, known.id, now=rt.now(), by="usr_1")
    assert verifying(rt, workspace_id) == []

    with rt.transaction(workspace_id) as session:
        new = secrets.mint(session, workspace_id, Mode.TEST, ring=rt.ring, now=rt.now(), by="usr_1")

    assert verifying(rt, workspace_id) == [("test", new.value)]
    assert new.value not in repr(new)


def test_revoking_the_new_secret_of_a_rotation_keeps_the_older_one_for_good(rt: Runtime) -> None:
    workspace_id = opened(rt).place.id
    [old] = verifying(rt, workspace_id)
    with rt.transaction(workspace_id) as session:
        new = secrets.rotate(session, workspace_id, Mode.TEST, ring=rt.ring, now=rt.now(), by="usr_1").id

    with rt.transaction(workspace_id) as session:
        secrets.revoke(session, workspace_id, new, now=rt.now(), by="usr_1")

    assert verifying(rt, workspace_id, timedelta(days=30)) == [old]


def test_revoking_a_secret_brings_back_none_that_has_ended(rt: Runtime) -> None:
    workspace_id = opened(rt).place.id
    with rt.transaction(workspace_id) as session:
        new = secrets.rotate(session, workspace_id, Mode.TEST, ring=rt.ring, now=rt.now(), by="usr_1").id

    with rt.transaction(workspace_id) as session:
        secrets.revoke(session, workspace_id, new, now=rt.now() + timedelta(hours=25), by="usr_1")

    assert verifying(rt, workspace_id, timedelta(hours=25)) == []


def test_another_workspaces_secret_is_not_there(rt: Runtime) -> None:
    mine, theirs = opened(rt).place.id, opened(rt, account("acct_2", "Beta")).place.id
    with rt.transaction(theirs) as session:
        [known] = secrets.listing(session, theirs, rt.now())
    for verb in (
        lambda session: secrets.reveal(session, mine, known.id, ring=rt.ring, now=rt.now(), by="usr_1"),
        lambda session: secrets.revoke(session, mine, known.id, now=rt.now(), by="usr_1"),
    ):
        with pytest.raises(NotFound), rt.transaction(mine) as session:
            verb(session)
    assert len(verifying(rt, theirs)) == 1
