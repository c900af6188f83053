"""JupyterLab in a headless browser, for the end-to-end test and for looking at a notebook.

    python tests/lab.py NOTEBOOK FOLDER [--run]

writes pictures of the whole notebook into FOLDER, page by page, in the light and the dark theme.
"""

import argparse
import contextlib
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import sync_playwright

THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
SECONDS = 60  # the longest that any one step may take
WIDTH, HEIGHT, OVERLAP = 1100, 1500, 40
NAMES = ("google-chrome", "google-chrome-stable", "chromium", "chromium-browser", "microsoft-edge")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
BROWSER_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SETTINGS = {
    # cells outside the window stay in the page; no empty space at the end
    "notebook-extension/tracker": {"windowingMode": "none", "scrollPastEnd": False},
    # a notebook that is only looked at stays as it is
    "docmanager-extension/plugin": {"autosave": False},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
READY = """path => {
    const panel = window.jupyterapp?.shell.currentWidget;
    return panel?.context?.path === path && panel.context.isReady
        && panel.sessionContext.session?.kernel?.status === 'idle'
        && panel.node.querySelectorAll('.jp-Cell').length === panel.content.widgets.length;
}"""
DRAWN = """() => {
    const all = selector => [...jupyterapp.shell.currentWidget.node.querySelectorAll(selector)];
    const texts = all('.jp-MarkdownOutput');
    return !document.querySelector('#jupyterlab-splash') && document.fonts.status === 'loaded'
        && texts.length === all('.jp-MarkdownCell').length
        && [...texts, ...all('.jp-OutputArea-output')].every(part => part.hasChildNodes())
        && all('img').every(picture => picture.getAttribute('src') && picture.complete);
}"""
WATCH = """index => {
    window.cellHasRun = false;
    const cell = jupyterapp.shell.currentWidget.content.widgets[index];
    cell.model.stateChanged.connect((_, change) => {
        if (change.name === 'executionCount' && change.newValue !== null) window.cellHasRun = true;
    });
}"""
OUTPUTS_SHOWN = """index => {
    const cell = jupyterapp.shell.currentWidget.content.widgets[index];
    const outputs = [...cell.node.querySelectorAll('.jp-OutputArea-output')];
    return outputs.length === cell.model.outputs.length && outputs.every(o => o.hasChildNodes());
}"""
RUN_ALL = """seconds => Promise.race([
    jupyterapp.commands.execute('notebook:run-all-cells'),
    new Promise((_, fail) => setTimeout(() => fail('Run All takes too long'), 1000 * seconds)),
])"""


def find_browser():
    """The path of a Chromium, Chrome or Edge, or None."""
    found = [*map(shutil.which, NAMES), *filter(os.path.exists, PLACES)]
    return next(filter(None, found), None)


@contextlib.contextmanager
def lab(root, browser):
    """A `Lab` that shows the folder `root`, on a server and in a browser of its own."""
    with serve(root) as (port, token), sync_playwright() as playwright:
        chromium = playwright.chromium
        with chromium.launch(executable_path=browser, args=BROWSER_ARGUMENTS) as opened:
            page = opened.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.set_default_timeout(1000 * SECONDS)
            yield Lab(page, f"http://127.0.0.1:{port}/lab/tree/", token)


@contextlib.contextmanager
def serve(root):
    """A JupyterLab server that knows nothing of the user's settings and leaves nothing behind."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as own:
        write_settings(Path(own))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        token = secrets.token_hex()
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
        command += ["--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"]
        command += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root}"]
        command += ["--LabApp.expose_app_in_browser=True"]
        command += ["--KernelManager.transport_encryption=auto"]
        command += [f"--FileCheckpoints.checkpoint_dir={own}/checkpoints"]
        folders = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
        environment = {**os.environ, **dict.fromkeys(folders, own)}
        for name in ("CHECKS_STRICT", "PYTEST_CURRENT_TEST"):  # a learner's server, not a test's
            environment.pop(name, None)
        log = Path(own) / "log.txt"
        with log.open("w", encoding="utf-8") as output:
            server = subprocess.Popen(
                command,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                wait_for(server, port, log)
                yield port, token
            finally:
                stop(server)


def write_settings(config):
    for name, values in SETTINGS.items():
        file = config / "lab/user-settings/@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values), encoding="utf-8")


def wait_for(server, port, log):
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/api")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(
        f"JupyterLab did not start:\n{log.read_text(errors='replace', encoding='utf-8')}"
    )


def stop(server):
    """Let the server end its kernels; then end what is left of it."""
    server.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(10)
    if os.name != "nt":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
    server.wait()


class Lab:
    """JupyterLab as its user sees it; cells are counted from 0."""

    def __init__(self, page, address, token):
        self.page, self.address, self.token = page, address, token

    def open(self, path):
        """Open a notebook, and wait until it is shown and its kernel is ready."""
        self.page.goto(f"{self.address}{quote(path)}?token={self.token}")
        self.page.wait_for_function(READY, arg=path)

    def cells(self):
        """Every cell's type and source."""
        return self.page.evaluate(
            "jupyterapp.shell.currentWidget.content.widgets.map("
            "cell => ({type: cell.model.type, source: cell.model.sharedModel.getSource()}))"
        )

    def find(self, text):
        """The index of the first code cell with `text` in its source."""
        for index, cell in enumerate(self.cells()):
            if cell["type"] == "code" and text in cell["source"]:
                return index
        raise LookupError(f"no code cell has {text!r} in its source")

    def cell(self, index):
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def set_cell_source(self, index, source):
        self.cell(index).locator(".cm-content").click()
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(source)  # key by key, the editor would indent by itself
        typed = self.cells()[index]["source"]
        assert typed == source, f"the editor has made something else of the text:\n{typed}"

    def run_cell(self, index):
        """Run one code cell with Shift+Enter, and wait until it has finished."""
        self.cell(index).locator(".cm-content").click()
        self.page.evaluate(WATCH, index)
        self.page.keyboard.press("Shift+Enter")
        self.page.wait_for_function("window.cellHasRun")

    def run_all(self):
        """Run every cell; returns whether none of them ended in an error."""
        return self.page.evaluate(RUN_ALL, 10 * SECONDS)

    def output_text(self, index):
        """What is shown below a code cell, as text."""
        self.page.wait_for_function(OUTPUTS_SHOWN, arg=index)
        return "\n".join(self.cell(index).locator(".jp-OutputArea-output").all_inner_texts())

    def save(self):
        self.page.keyboard.press("ControlOrMeta+s")
        self.page.wait_for_function("!jupyterapp.shell.currentWidget.context.model.dirty")

    def screenshot(self, path, theme):
        """A picture of the window, in the theme `"light"` or `"dark"`."""
        name = THEMES[theme]
        self.page.evaluate(
            "theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", name
        )
        self.page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=name)
        self.page.wait_for_function(DRAWN)
        self.page.screenshot(path=path)

    def screenshots(self, folder, theme):
        """Pictures of the whole notebook, hints opened, from top to bottom; returns their paths."""
        self.page.evaluate("jupyterapp.shell.collapseLeft()")
        panel = self.page.locator(".jp-NotebookPanel-notebook .jp-WindowedPanel-outer")
        panel.evaluate("panel => panel.querySelectorAll('details').forEach(d => { d.open = true })")
        paths, top, seen, bottom = [], 0, 0, 1
        while seen < bottom:
            panel.evaluate("(panel, top) => panel.scrollTo(0, top)", top)
            paths.append(Path(folder) / f"{theme}-{len(paths) + 1:02}.png")
            self.screenshot(paths[-1], theme)
            height, bottom = panel.evaluate("panel => [panel.clientHeight, panel.scrollHeight]")
            top, seen = top + height - OVERLAP, top + height
        return paths


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--run", action="store_true", help="run all cells first")
    arguments = parser.parse_args()
    notebook = arguments.notebook.resolve()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    browser = find_browser()
    if not browser:
        sys.exit("No Chromium, Chrome or Edge was found.")
    # the folder above, because a notebook may show a picture from a neighbouring one
    with lab(notebook.parent.parent, browser) as shown:
        shown.open(f"{notebook.parent.name}/{notebook.name}")
        if arguments.run and not shown.run_all():
            print("A cell ended in an error.")
        for theme in THEMES:
            print(*shown.screenshots(arguments.folder, theme), sep="\n")


if __name__ == "__main__":
    main()
