from fusion.data.provenance import code_hash


def test_code_is_hashed_by_its_content(tmp_path, monkeypatch):
    package = tmp_path / "some_simulator"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("x = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = code_hash("some_simulator.a")
    assert before == code_hash("some_simulator.a")
    (package / "a.py").write_text("x = 2")
    assert code_hash("some_simulator.a") != before
    assert code_hash("no_such_module") is None
