from lib.report.claim import read_claims, write_claims
from lib.report.claims import compute_claims


def test_written_and_read(results, tmp_path):
    claims = compute_claims(results)
    path = write_claims(claims, tmp_path / "claims.json")
    assert read_claims(path) == claims
    first = path.read_bytes()
    assert write_claims(compute_claims(results), path).read_bytes() == first
