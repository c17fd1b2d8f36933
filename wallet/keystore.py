"""A directory of wallets, one file each, one of them current.

    alice.json   a wallet (see wallet_file.py), mode 0600
    current      the name of the current wallet

Writing is atomic and survives a loss of power: a temporary file, fsync, rename, fsync of the directory. Changes hold a
lock on the directory, so that a daemon and a command can share it; reading needs none. A file that other users of the
machine can read, or a directory in which they can replace files, is refused and not repaired: by then it may be too
late, and the owner should know.
"""

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from chain.crypto.address import format_address, key_address, parse_address
from chain.crypto.ed25519 import PUBLIC_KEY_SIZE
from wallet.derivation import account_path, parse_path
from wallet.errors import (
    BackupExists,
    InsecurePermissions,
    InvalidSecret,
    InvalidWalletName,
    NoCurrentWallet,
    PassphraseRequired,
    WalletError,
    WalletExists,
    WalletNotFound,
    WalletStorageFailed,
)
from wallet.mnemonic import entropy_from_mnemonic
from wallet.wallet_file import (
    LARGEST_FILE,
    NORMAL_COST,
    Cost,
    Kind,
    Wallet,
    decode_wallet,
    encode_wallet,
    make_wallet,
    reseal,
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SUFFIX = ".json"
_CURRENT = "current"
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")


class Keystore:
    """The wallets in `directory`, which is made with mode 0700 when the first wallet is.

    Every method may raise WalletStorageFailed (the disk refuses) and InsecurePermissions; every method that takes a
    name, InvalidWalletName; every method that reads a wallet, DamagedWallet, UnknownWalletVersion and UnreasonableCost.
    """

    def __init__(self, directory: str | os.PathLike[str], cost: Cost = NORMAL_COST) -> None:
        """Args: cost: of deriving keys from passphrases, for what is written from now on."""
        self.directory = Path(directory)
        self._cost = cost

    def names(self) -> tuple[str, ...]:
        """The names of all wallets, sorted, whether or not their files are sound."""
        with _storage(self.directory):
            try:
                entries = os.listdir(self.directory)
            except FileNotFoundError:
                return ()
        names = (entry.removesuffix(_SUFFIX) for entry in entries if entry.endswith(_SUFFIX))
        return tuple(sorted(name for name in names if _NAME.fullmatch(name)))

    def scan(self) -> tuple[tuple[Wallet, ...], tuple[WalletError, ...]]:
        """The wallets that can be read, sorted by name, and what is wrong with the others."""
        wallets: list[Wallet] = []
        problems: list[WalletError] = []
        for name in self.names():
            try:
                wallets.append(self.open(name))
            except WalletNotFound:
                # Deleted since the directory was listed.
                continue
            except WalletError as error:
                problems.append(error)
        return tuple(wallets), tuple(problems)

    def list(self) -> tuple[Wallet, ...]:
        """The wallets that can be read, sorted by name: one damaged file does not hide the others."""
        return self.scan()[0]

    def open(self, name: str) -> Wallet:
        """What is public of a wallet. Raises: WalletNotFound."""
        return decode_wallet(name, self._read(name))

    def create(
        self,
        name: str,
        kind: Kind | str,
        secret: str | bytes,
        passphrase: str = "",
        *,
        prefix: str,
        account: int = 0,
        index: int = 0,
        address: bytes | None = None,
        allow_empty_passphrase: bool = False,
    ) -> Wallet:
        """Write a new wallet. It becomes the current one if there is none.

        Args:
            secret: for hd the recovery words; for simple the 32-byte seed; for watch an address in text, or the
                32-byte public key that opens it.
            prefix: of the network's addresses, such as "ait".
            account, index: choose the key of an hd wallet, each from 0 to 2^31 − 1.
            address: binary address, if the key acts for another account than the one it opens, as after rotate_key.
            allow_empty_passphrase: for wallets of local development, whose keys are worth nothing.

        Raises:
            WalletExists, PassphraseRequired, InvalidPassphrase, InvalidMnemonic, InvalidSecret, InvalidDerivationPath,
            KeyDerivationFailed, and chain's InvalidAddress and WrongNetworkAddress.
        """
        kind = Kind(kind)
        # Before the costly part; what decides is the same question under the lock.
        if os.path.lexists(self._path(name)):
            raise WalletExists(wallet=name)
        now_ms = time.time_ns() // 1_000_000
        if kind is Kind.WATCH:
            wallet = _watch(name, secret, prefix, address, now_ms)
        else:
            if not passphrase and not allow_empty_passphrase:
                raise PassphraseRequired()
            wallet = make_wallet(
                name,
                kind,
                _secret_bytes(kind, secret),
                passphrase,
                prefix=prefix,
                created_ms=now_ms,
                path=account_path(account, index) if kind is Kind.HD else None,
                address=address,
                cost=self._cost,
            )
        self._add(wallet, encode_wallet(wallet), replace=False)
        return wallet

    def current_name(self) -> str | None:
        """The name of the current wallet, if one is selected and exists."""
        path = self.directory / _CURRENT
        with _storage(path):
            try:
                text = _read_bounded(path, follow=False)[0]
            except FileNotFoundError:
                return None
        name = text.decode("ascii", errors="replace").removesuffix("\n")
        return name if _NAME.fullmatch(name) and os.path.lexists(self._path(name)) else None

    def current(self) -> Wallet:
        """The current wallet. Raises: NoCurrentWallet."""
        name = self.current_name()
        if name is None:
            raise NoCurrentWallet()
        return self.open(name)

    def switch(self, name: str) -> Wallet:
        """Make `name` the current wallet. Raises: WalletNotFound."""
        wallet = self.open(name)
        with self._lock():
            self._select(name)
        return wallet

    def delete(self, name: str) -> None:
        """Remove a wallet, sound or not. Without a backup its key is lost. Raises: WalletNotFound."""
        path = self._path(name)
        if not os.path.lexists(path):
            raise WalletNotFound(wallet=name)
        with self._lock(), _storage(path):
            # The selection goes first: a crash in between leaves no name that leads nowhere.
            if self.current_name() == name:
                os.unlink(self.directory / _CURRENT)
            os.unlink(path)
            _sync_directory(self.directory)

    def backup(self, name: str, path: str | os.PathLike[str]) -> Wallet:
        """Copy a sound wallet file to `path`, a new file. It stays sealed by its passphrase.

        Raises:
            WalletNotFound, BackupExists.
        """
        target = Path(path)
        data = self._read(name)
        wallet = decode_wallet(name, data)
        with _storage(target):
            try:
                _write_new(target, data)
            except FileExistsError:
                raise BackupExists(path=str(target)) from None
            _sync_directory(target.parent)
        return wallet

    def restore(self, path: str | os.PathLike[str], name: str, force: bool = False) -> Wallet:
        """Take in the wallet in the file `path`, under `name`. The permissions of that file do not matter.

        Args:
            force: replace a wallet of that name, whose key is lost unless it has a backup too.

        Raises:
            WalletExists.
        """
        self._path(name)
        source = Path(path)
        with _storage(source):
            data = _read_bounded(source, follow=True)[0]
        wallet = decode_wallet(name, data)
        self._add(wallet, data, replace=force)
        return wallet

    def change_passphrase(self, name: str, old: str, new: str, *, allow_empty_passphrase: bool = False) -> Wallet:
        """Seal a wallet under another passphrase, at the present cost. Copies made before keep the old one.

        Raises:
            WalletNotFound, WatchOnlyWallet, WrongPassphrase, TamperedWallet, PassphraseRequired, InvalidPassphrase,
            KeyDerivationFailed.
        """
        if not new and not allow_empty_passphrase:
            raise PassphraseRequired()
        self.open(name)
        with self._lock():
            return self._replace(reseal(self.open(name), old, new, self._cost))

    def rekey(self, name: str, passphrase: str, *, index: int | None = None, seed: bytes | None = None) -> Wallet:
        """Sign with another key for the same address, once a rotate_key of the account is final.

        An hd wallet goes to key number `index` of its account, and every earlier key stays derivable. A simple wallet
        takes `seed` and forgets the old one: keep the new seed in a wallet of its own until the rotation is final.

        Raises:
            WalletNotFound, WatchOnlyWallet, WrongPassphrase, TamperedWallet, InvalidSecret, InvalidDerivationPath,
            KeyDerivationFailed.
        """
        self.open(name)
        with self._lock():
            wallet = self.open(name)
            if wallet.path is None:
                if wallet.can_sign and (index is not None or seed is None):
                    raise InvalidSecret(expected="a seed of 32 bytes")
                return self._replace(reseal(wallet, passphrase, passphrase, self._cost, secret=seed))
            if index is None or seed is not None:
                raise InvalidSecret(expected="its recovery words and the number of a key")
            path = account_path(parse_path(wallet.path)[2], index)
            return self._replace(reseal(wallet, passphrase, passphrase, self._cost, path=path))

    def _path(self, name: str) -> Path:
        """Where the wallet is kept. The pattern leaves no way out of the directory."""
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidWalletName()
        return self.directory / (name + _SUFFIX)

    def _read(self, name: str) -> bytes:
        path = self._path(name)
        with _storage(path):
            try:
                data, mode = _read_bounded(path, follow=False)
            except FileNotFoundError:
                raise WalletNotFound(wallet=name) from None
        if mode & 0o077:
            raise InsecurePermissions(path=str(path), mode=f"{mode:03o}", wanted="600")
        self._check_directory()
        return data

    def _add(self, wallet: Wallet, data: bytes, *, replace: bool) -> None:
        path = self._path(wallet.name)
        with self._lock():
            if not replace and os.path.lexists(path):
                raise WalletExists(wallet=wallet.name)
            _write_atomically(path, data)
            if self.current_name() is None:
                self._select(wallet.name)

    def _replace(self, wallet: Wallet) -> Wallet:
        _write_atomically(self._path(wallet.name), encode_wallet(wallet))
        return wallet

    def _select(self, name: str) -> None:
        _write_atomically(self.directory / _CURRENT, name.encode("ascii") + b"\n")

    def _check_directory(self) -> None:
        with _storage(self.directory):
            mode = stat.S_IMODE(self.directory.stat().st_mode)
        if mode & 0o022:
            raise InsecurePermissions(path=str(self.directory), mode=f"{mode:03o}", wanted="700")

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the directory alone among all processes that change it, and clear away what a crash left in it."""
        with _storage(self.directory):
            if not self.directory.is_dir():
                self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check_directory()
        with _storage(self.directory):
            descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with _storage(self.directory):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                for entry in os.listdir(descriptor):
                    if _TEMPORARY.fullmatch(entry):
                        os.unlink(self.directory / entry)
            yield
        finally:
            os.close(descriptor)


def _watch(name: str, secret: str | bytes, prefix: str, address: bytes | None, created_ms: int) -> Wallet:
    public_key = None
    if isinstance(secret, str):
        if address is not None:
            raise InvalidSecret(expected="one address, or a public key and the address it acts for")
        address = parse_address(prefix, secret)
    elif isinstance(secret, bytes) and len(secret) == PUBLIC_KEY_SIZE:
        public_key = secret
        address = key_address(secret) if address is None else address
    else:
        raise InvalidSecret(expected="an address or a public key of 32 bytes")
    # Formatting now means that what is written can be read again.
    format_address(prefix, address)
    return Wallet(name, Kind.WATCH, prefix, address, public_key, None, created_ms, None)


def _secret_bytes(kind: Kind, secret: str | bytes) -> bytes:
    if kind is Kind.HD and isinstance(secret, str):
        return entropy_from_mnemonic(secret)
    if kind is Kind.SIMPLE and isinstance(secret, bytes):
        return secret
    raise InvalidSecret(expected="recovery words" if kind is Kind.HD else "a seed of 32 bytes")


@contextlib.contextmanager
def _storage(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = "a symbolic link is not followed" if error.errno == errno.ELOOP else error.strerror or "cannot be used"
        raise WalletStorageFailed(path=str(path), reason=reason) from error


def _read_bounded(path: Path, *, follow: bool) -> tuple[bytes, int]:
    """At most one byte more than the largest wallet file, and the permission bits. Raises: OSError.

    Opened without blocking and judged by its descriptor, so that neither a pipe nor an exchange of files can mislead.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    with open(os.open(path, flags), "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a regular file")
        return file.read(LARGEST_FILE + 1), stat.S_IMODE(mode)


def _write_new(path: Path, data: bytes) -> None:
    """A new file with mode 0600, on disk when this returns; nothing remains if it fails. Raises: OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        os.unlink(path)
        raise


def _write_atomically(path: Path, data: bytes) -> None:
    """Whoever reads `path`, now or after a crash, finds the old content or the new. Raises: WalletStorageFailed."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    with _storage(path):
        _write_new(temporary, data)
        try:
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
