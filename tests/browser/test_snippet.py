"""The seed's Node snippet, unchanged but for origin and slug, run by a real Node: the one in Playwright's wheel."""

import json
import os
import subprocess
from pathlib import Path

import playwright
from playwright.sync_api import Page, expect

from tests.browser.conftest import House

NODE = Path(playwright.__file__).parent / "driver" / "node"
SNIPPET = Path(__file__).parent / "seed_portal_snippet.mjs"

# What the snippet finds around it in a business's back end: an Express app, and who is signed in.
AROUND = """
const app = {{ post: (path, handler) => handler({{}}, {{ json: (body) => console.log(JSON.stringify(body)) }}) }}
const resolveBillingFromSession = async () => ({{ customer: {customer} }})
"""


def run(house: House, folder: Path, customer: str, secret: str) -> subprocess.CompletedProcess[str]:
    snippet = SNIPPET.read_text()
    assert "https://www.trybackstop.com" in snippet
    assert "your-slug" in snippet
    snippet = snippet.replace("https://www.trybackstop.com", house.demo["base_url"]).replace("your-slug", house.demo["workspace"])
    program = folder / "portal_link.mjs"
    # Imports are hoisted, so what stands around the snippet may come first.
    program.write_text(AROUND.format(customer=json.dumps(customer)) + snippet)
    environ = {**os.environ, "BACKSTOP_EMBED_SECRET": secret}
    return subprocess.run([NODE, program], env=environ, capture_output=True, text=True, timeout=30, check=False)


def test_the_seeds_node_snippet_opens_the_portal(page: Page, house: House, tmp_path: Path) -> None:
    row = house.newcomer("Ottilie Baumann")
    done = run(house, tmp_path, row["customer"], house.demo["embed_secret"])
    assert done.returncode == 0, done.stderr
    url = json.loads(done.stdout)["url"]
    assert url.startswith(f"{house.demo['base_url']}/portal/plk_")
    page.goto(url)
    expect(page.get_by_role("heading", name="Your subscriptions")).to_be_visible()
    # Long-lived and the same again, so that it can be bookmarked.
    assert json.loads(run(house, tmp_path, row["customer"], house.demo["embed_secret"]).stdout)["url"] == url


def test_the_seeds_node_snippet_with_a_wrong_secret_gets_no_link(house: House, tmp_path: Path) -> None:
    done = run(house, tmp_path, house.subscription("monthly")["customer"], "hf_embed_test_" + "0" * 64)
    assert json.loads(done.stdout or "{}").get("url") is None
