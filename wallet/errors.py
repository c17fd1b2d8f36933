"""What can go wrong with a wallet, one class each, with a stable code and name, a message and a hint.

Codes are 30xx and never reused. The data of an error may name a wallet, a file or a limit; a passphrase, a word of a
mnemonic or a key never enters one, because errors are printed and logged.
"""

import re
from typing import ClassVar


class WalletError(Exception):
    """Base of all wallet errors. Keyword arguments become `data` and complete `message` and `hint`."""

    code: ClassVar[int] = 3000
    name: ClassVar[str] = "wallet_error"
    text: ClassVar[str] = "The wallet cannot do this."
    advice: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    def __init__(self, **data: int | str) -> None:
        self.data = data
        super().__init__(data)

    @property
    def message(self) -> str:
        """What happened, for a person."""
        return self.text.format_map(self.data)

    @property
    def hint(self) -> str:
        """What to do about it; may be empty."""
        return self.advice.format_map(self.data)

    def __str__(self) -> str:
        return self.message


class WalletNotFound(WalletError):
    """data: wallet."""

    code = 3001
    text = "There is no wallet called {wallet}."
    advice = "`aitbc wallet list` shows the wallets there are."


class WalletExists(WalletError):
    """data: wallet."""

    code = 3002
    text = "There is a wallet called {wallet} already."
    advice = "Choose another name. Replacing a wallet destroys its key unless it has a backup."


class InvalidWalletName(WalletError):
    """data: none, since the name may be anything."""

    code = 3003
    text = "This is not a name for a wallet."
    advice = "Use 1 to 64 letters, digits, '-', '_' and '.', beginning with a letter or digit."


class NoCurrentWallet(WalletError):
    code = 3004
    text = "No wallet is selected."
    advice = "Create one with `aitbc wallet create NAME`, or select one with `aitbc wallet switch NAME`."


class WrongPassphrase(WalletError):
    """data: wallet."""

    code = 3005
    text = "The passphrase does not open wallet {wallet}."
    advice = "Check the keyboard layout. If the passphrase is certainly right, restore the wallet from a backup."


class PassphraseRequired(WalletError):
    code = 3006
    text = "The passphrase is empty."
    advice = "A wallet without a passphrase is for local development only and has to be asked for explicitly."


class InvalidPassphrase(WalletError):
    code = 3007
    text = "The passphrase is longer than 1024 bytes or not valid text."


class DamagedWallet(WalletError):
    """data: wallet, reason. The file is not what was written: cut off, edited, or not a wallet at all."""

    code = 3008
    text = "The file of wallet {wallet} is damaged: {reason}."
    advice = "Restore it from a backup with `aitbc wallet restore`."


class TamperedWallet(WalletError):
    """data: wallet. The passphrase is right, but what it protects was changed on purpose."""

    code = 3009
    text = "The file of wallet {wallet} was altered by someone who does not know its passphrase."
    advice = "Do not use the address it shows. Restore the wallet from a backup or from its words."


class UnknownWalletVersion(WalletError):
    """data: wallet, version, supported."""

    code = 3010
    text = "Wallet {wallet} has format version {version}; this software reads up to version {supported}."
    advice = "Update the software."


class InsecurePermissions(WalletError):
    """data: path, mode (octal text), wanted (octal text)."""

    code = 3011
    text = "{path} is open to other users of this machine (mode {mode})."
    advice = "Run: chmod {wanted} {path}"


class WatchOnlyWallet(WalletError):
    """data: wallet."""

    code = 3012
    text = "Wallet {wallet} only watches an address; it has no key to sign with."
    advice = "Sign where the key is, or select another wallet."


class InvalidMnemonic(WalletError):
    """data: reason, which may name the position of a word and never the word."""

    code = 3013
    text = "These are not valid recovery words: {reason}."
    advice = "Compare each word with what was written down; words come from the English BIP-39 list."


class InvalidDerivationPath(WalletError):
    """data: reason."""

    code = 3014
    text = "Not a derivation path: {reason}."
    advice = "Ed25519 keys need hardened steps only, such as m/44'/1095324738'/0'/0'/0'."


class InvalidSecret(WalletError):
    """data: expected."""

    code = 3015
    text = "This kind of wallet is made from {expected}."


class UnreasonableCost(WalletError):
    """data: wallet, passes, memory_bytes. A file must not decide to use up the machine."""

    code = 3016
    text = (
        "Wallet {wallet} asks for {passes} passes over {memory_bytes} bytes to derive its key, beyond what is allowed."
    )
    advice = "No version of this software writes such a file. Do not trust it."


class WalletStorageFailed(WalletError):
    """data: path, reason (of the operating system)."""

    code = 3017
    text = "{path}: {reason}."


class BackupExists(WalletError):
    """data: path."""

    code = 3018
    text = "{path} exists already."
    advice = "Choose another file: a backup never overwrites anything."


class WalletLocked(WalletError):
    """data: wallet."""

    code = 3019
    text = "Wallet {wallet} is locked."
    advice = "Unlock it with its passphrase."


class KeyDerivationFailed(WalletError):
    """data: memory_bytes."""

    code = 3020
    text = "There is not enough memory to derive the key: {memory_bytes} bytes are needed."
