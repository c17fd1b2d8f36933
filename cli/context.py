"""What a command works with: the settings in force, the wallet, the node, and the person at the terminal.

Everything is found when it is first needed, so that a command that asks nothing of a node never looks for one. An
option wins over the environment, and the environment over what is usual.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import output
from cli.errors import BadInput, ConfirmationNeeded, Declined, PassphraseNeeded

if TYPE_CHECKING:
    from wallet.client import NodeClient
    from wallet.keystore import Keystore
    from wallet.transactions import Network
    from wallet.wallet_file import UnlockedWallet, Wallet

FIRST_PORT = 8081
"""Of node 1 of a local network, unless its own file says otherwise."""
_LARGEST_PASSPHRASE_FILE = 4_096


@dataclass(slots=True)
class Settings:
    """What the options say; None where they say nothing."""

    output: str | None = None
    node: str | None = None
    wallet: str | None = None
    wallet_path: str | None = None
    passphrase_file: str | None = None
    passphrase_fd: int | None = None
    assume_yes: bool = False
    verbosity: int = 0
    debug: bool = False
    dry_run: bool = False
    wait: bool = True
    timeout: int = 60
    tip: int = 0
    build_file: str | None = None


@dataclass(slots=True)
class Application:
    """One run of the command."""

    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    settings: Settings = field(default_factory=Settings)
    _client: "NodeClient | None" = None
    _network: "Network | None" = None
    _passphrase: str | None = None
    _unlocked: "UnlockedWallet | None" = None
    _typed: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def form(self) -> str:
        """The output format."""
        form = self.settings.output or self.environment.get("AITBC_OUTPUT") or "table"
        if form not in output.FORMATS:
            raise BadInput(f"AITBC_OUTPUT is {form!r}.", f"Use one of {', '.join(output.FORMATS)}.")
        return form

    def show(self, data: Any, human: Callable[[], str]) -> None:
        """Write data to stdout; `human` makes its table form."""
        output.show(self.form, data, human)

    def note(self, text: str) -> None:
        """Tell a person something on stderr; programs that asked for data are left alone."""
        if self.form == "table" or self.settings.verbosity:
            output.note(text)

    @property
    def tells(self) -> bool:
        """Whether someone reads along: at a terminal that will ask, or anyone who wants tables or asked for more."""
        asks = self.at_terminal() and not self.settings.assume_yes
        return self.form == "table" or bool(self.settings.verbosity) or asks

    def config_directory(self) -> Path:
        """Folder of what the command keeps between runs."""
        named = self.environment.get("AITBC_CONFIG_DIR")
        if named:
            return Path(named)
        from platformdirs import user_config_path

        return user_config_path("aitbc")

    def localnet_directory(self) -> Path:
        """Folder of the local network, whether or not there is one."""
        named = self.environment.get("AITBC_LOCALNET_DIR")
        if named:
            return Path(named)
        here = Path(".localnet")
        return here if here.is_dir() else Path(__file__).resolve().parent.parent / ".localnet"

    def keystore(self) -> "Keystore":
        """The wallets."""
        from wallet.keystore import Keystore

        named = self.settings.wallet_path or self.environment.get("AITBC_WALLET_PATH")
        return Keystore(Path(named) if named else self.config_directory() / "wallets")

    def wallet(self) -> "Wallet":
        """The wallet that acts."""
        name = self.settings.wallet or self.environment.get("AITBC_WALLET")
        keystore = self.keystore()
        return keystore.open(name) if name else keystore.current()

    def node_url(self) -> str:
        """Where the node is."""
        text = self.settings.node or self.environment.get("AITBC_NODE") or "1"
        return self._localnet_url(int(text)) if text.isascii() and text.isdigit() and len(text) < 4 else text

    def _localnet_url(self, number: int) -> str:
        import json

        try:
            nodes = json.loads((self.localnet_directory() / "nodes.json").read_text())
            known = {int(name): str(entry["rpc"]) for name, entry in nodes.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return f"http://127.0.0.1:{FIRST_PORT + number - 1}"
        if number not in known:
            raise BadInput(
                f"The local network has no node {number}.",
                f"It has {', '.join(map(str, sorted(known)))}; or give a URL.",
            )
        return known[number]

    def client(self) -> "NodeClient":
        """The connection to the node."""
        if self._client is None:
            self._client = self.connect(self.node_url())
        return self._client

    def connect(self, url: str) -> "NodeClient":
        """A connection to a node that says what it does if asked to be verbose."""
        from wallet.client import NodeClient, NodeUnreachable

        verbosity = self.settings.verbosity

        class Told(NodeClient):
            def batch(self, calls: Sequence[tuple[str, dict[str, Any]]]) -> list[Any]:
                began = time.monotonic()
                try:
                    return NodeClient.batch(self, calls)
                finally:
                    took = (time.monotonic() - began) * 1_000
                    for method, params in calls:
                        told = f" {params}" if verbosity > 1 else ""
                        output.note(f"{self.url} {method}{told[:500]} {took:.0f} ms")

        level = self.environment.get("AITBC_LOG_LEVEL", "").lower()
        if level == "debug":
            verbosity = max(verbosity, 2)
        try:
            return Told(url) if verbosity or level in ("info", "debug") else NodeClient(url)
        except ValueError as error:
            raise NodeUnreachable(url=url, reason="not an http:// address") from error

    def call(self, method: str, **params: Any) -> Any:
        """One call of the node; see `NodeClient.call`."""
        return self.client().call(method, **params)

    def network(self) -> "Network":
        """What signing needs to know of the node's network."""
        if self._network is None:
            from wallet.transactions import read_network

            self._network = read_network(self.client())
        return self._network

    def account_text(self, text: str | None) -> str:
        """The address that is meant: of a wallet by its name, as given, or of the acting wallet if nothing is."""
        if text is None:
            return self.wallet().address_text
        from chain.crypto.address import bech32m_decode, parse_address
        from chain.errors import LedgerError

        try:
            parse_address(bech32m_decode(text)[0], text)
        except (ValueError, LedgerError) as error:
            if text in self.keystore().names():
                return self.keystore().open(text).address_text
            reason = str(error.data.get("reason") if isinstance(error, LedgerError) else error)
            raise BadInput(
                f"{text[:100]!r} is no address ({reason}), and no wallet has that name.",
                "Copy the address again; `aitbc wallet list` shows the names of your own.",
            ) from error
        return text.lower()

    def address(self, text: str) -> bytes:
        """The binary address that is meant, on the node's network."""
        from chain.crypto.address import parse_address

        return parse_address(self.network().prefix, self.account_text(text))

    def unlock(self, wallet: "Wallet") -> "UnlockedWallet":
        """The wallet with its key, asking for the passphrase if there is one, once; locked again by `close`."""
        if self._unlocked is None or self._unlocked.wallet != wallet:
            self._unlocked = wallet.unlock(self.passphrase(wallet))
        return self._unlocked

    def passphrase(self, wallet: "Wallet") -> str:
        """What opens the wallet: given, or asked for once."""
        if not wallet.passphrase_needed:
            return ""
        passphrase = self.given_passphrase()
        if passphrase is None:
            passphrase = self._typed.get(wallet.name)
        if passphrase is None:
            if not self.at_terminal():
                raise PassphraseNeeded(
                    f"Wallet {wallet.name} is locked, and there is no terminal to ask for its passphrase.",
                    "Pass --passphrase-file FILE, or set AITBC_PASSPHRASE_FILE.",
                )
            passphrase = str(click.prompt(f"Passphrase of wallet {wallet.name}", hide_input=True, err=True))
            self._typed[wallet.name] = passphrase
        return passphrase

    def given_passphrase(self) -> str | None:
        """The passphrase that a file or a descriptor holds; None if none was named."""
        if self._passphrase is None:
            self._passphrase = self._read_passphrase()
        return self._passphrase

    def _read_passphrase(self) -> str | None:
        settings = self.settings
        named = settings.passphrase_file or self.environment.get("AITBC_PASSPHRASE_FILE")
        if settings.passphrase_fd is not None:
            where = f"descriptor {settings.passphrase_fd}"
            source: Any = settings.passphrase_fd
        elif named == "-":
            return _first_line(sys.stdin.buffer.readline(_LARGEST_PASSPHRASE_FILE), "stdin")
        elif named:
            where, source = named, named
        else:
            return None
        try:
            with open(source, "rb") as file:
                if isinstance(source, str) and os.fstat(file.fileno()).st_mode & 0o077:
                    output.note(f"Warning: other users of this machine can read {where}; run: chmod 600 {where}")
                return _first_line(file.readline(_LARGEST_PASSPHRASE_FILE), where)
        except OSError as error:
            raise PassphraseNeeded(
                f"The passphrase cannot be read from {where}: {error.strerror}.", "Check the path and its permissions."
            ) from error

    def new_passphrase(self, allow_empty: bool) -> str:
        """The passphrase for a new wallet, asked twice."""
        given = self.given_passphrase()
        if given is not None or allow_empty:
            return given or ""
        if not self.at_terminal():
            raise PassphraseNeeded(
                "A new wallet needs a passphrase, and there is no terminal to ask for it.",
                "Pass --passphrase-file FILE; for a worthless wallet of local development, --no-passphrase.",
            )
        return str(click.prompt("New passphrase", hide_input=True, confirmation_prompt=True, err=True))

    def confirm(self, question: str) -> None:
        """Go on only if the person says yes. Raises ConfirmationNeeded where nobody can."""
        if self.settings.assume_yes:
            return
        if not self.at_terminal():
            raise ConfirmationNeeded(
                f"This needs a yes, and there is no terminal to ask: {question}", "Pass --yes if you mean it."
            )
        if not click.confirm(question, err=True):
            raise Declined("You said no, so nothing was done.", "Run it again to decide anew.")

    def at_terminal(self) -> bool:
        """Whether someone can be asked."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    def close(self) -> None:
        """Let go of the node and forget the key."""
        if self._client is not None:
            self._client.close()
        if self._unlocked is not None:
            self._unlocked.lock()
        self._typed.clear()


def _first_line(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise PassphraseNeeded(f"What {where} holds is no text.", "Store the passphrase as UTF-8 text.") from error
