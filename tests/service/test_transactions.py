"""A transaction sees one tenant, leaves nothing half done, and rings only after its commit."""

import multiprocessing

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from connect_app import db, ids, preferences
from connect_app.models import LinkLookup, Setting, Workspace
from connect_app.runtime import RoleTooStrong, Runtime


def workspace(rt: Runtime, slug: str) -> str:
    row = Workspace(id=ids.new("ws"), slug=slug, name=slug.title(), created_at=rt.now())
    with rt.transaction() as session:
        session.add(row)
    return row.id


def test_a_tenants_rows_are_hidden_from_all_others(rt: Runtime) -> None:
    ours, theirs = workspace(rt, "ours"), workspace(rt, "theirs")
    with rt.transaction(ours) as session:
        preferences.save(session, ours, "display", "modal", rt.now())
    for tenant, seen in ((ours, 1), (theirs, 0), (None, 0)):
        with rt.transaction(tenant) as session:
            assert len(session.execute(select(Setting)).all()) == seen


def test_a_tenant_cannot_write_a_row_of_another(rt: Runtime) -> None:
    ours, theirs = workspace(rt, "ours"), workspace(rt, "theirs")
    with pytest.raises(Exception, match="row-level security"), rt.transaction(ours) as session:
        preferences.save(session, theirs, "display", "modal", rt.now())


def test_a_look_up_lets_in_the_tenant_it_finds_and_no_other_until_the_transaction_ends(rt: Runtime) -> None:
    ours, theirs = workspace(rt, "ours"), workspace(rt, "theirs")
    for tenant in (ours, theirs):
        with rt.transaction(tenant) as session:
            preferences.save(session, tenant, "display", "modal", rt.now())
            session.add(LinkLookup(link_id=f"ses_{tenant}", workspace_id=tenant))
    for link, found, seen in ((f"ses_{ours}", ours, [ours]), (f"ses_{theirs}", theirs, [theirs]), ("ses_none", None, [])):
        look_up = select(db.tenant_of(LinkLookup.workspace_id)).where(LinkLookup.link_id == link)
        with rt.transaction() as session:
            assert session.execute(look_up).scalar_one_or_none() == found
            assert [row.workspace_id for row in session.execute(select(Setting)).scalars()] == seen
        with rt.transaction() as session:
            assert session.execute(select(Setting)).all() == []


def test_the_tenant_ends_with_its_transaction(rt: Runtime) -> None:
    ours = workspace(rt, "ours")
    with rt.transaction(ours):
        pass
    with rt.transaction() as session:
        assert session.execute(text("select current_setting('app.workspace_id', true)")).scalar_one() in (None, "")


def test_what_waits_for_the_commit_runs_after_it_and_not_without_it(rt: Runtime) -> None:
    rung: list[int] = []

    def visible() -> None:
        with rt.transaction() as other:
            rung.append(len(other.execute(select(Workspace)).all()))

    with rt.transaction() as session:
        with session.begin_nested():
            session.add(Workspace(id=ids.new("ws"), slug="a", name="A", created_at=rt.now()))
            db.after_commit(session, visible)
        assert rung == []
    assert rung == [1]

    def take_the_slug_again() -> None:
        with rt.transaction() as session:
            db.after_commit(session, visible)
            session.add(Workspace(id=ids.new("ws"), slug="a", name="A", created_at=rt.now()))

    with pytest.raises(IntegrityError):
        take_the_slug_again()
    assert rung == [1]


def test_a_failing_doorbell_does_not_undo_what_was_committed(rt: Runtime) -> None:
    with rt.transaction() as session:
        session.add(Workspace(id=ids.new("ws"), slug="a", name="A", created_at=rt.now()))
        db.after_commit(session, lambda: 1 / 0)
    with rt.transaction() as session:
        assert len(session.execute(select(Workspace)).all()) == 1


def test_a_role_that_row_level_security_does_not_bind_is_refused(rt: Runtime) -> None:
    rt.check_role()
    strong = str(rt.engine.url).replace("holdfast_app@", "postgres@")
    engine = db.engine(strong)
    try:
        with pytest.raises(RoleTooStrong, match="postgres"):
            type(rt).check_role(_with_engine(rt, engine))
    finally:
        engine.dispose()


def test_a_forked_process_has_connections_of_its_own(rt: Runtime) -> None:
    forked = multiprocessing.get_context("fork")

    def server_session() -> int:
        with rt.transaction() as session:
            return int(session.execute(text("select pg_backend_pid()")).scalar_one())

    ours = server_session()
    theirs = forked.SimpleQueue()
    children = [forked.Process(target=lambda: theirs.put(server_session()), daemon=True) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(30)
    assert [child.exitcode for child in children] == [0, 0]
    assert len({ours, theirs.get(), theirs.get()}) == 3
    assert server_session() == ours  # the children have not closed it under us


def _with_engine(rt: Runtime, engine: object) -> Runtime:
    import dataclasses

    return dataclasses.replace(rt, engine=engine)  # type: ignore[arg-type]
