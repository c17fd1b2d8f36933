"""What lies on disk before a node runs: the genesis file, and the record of what an authority signs.

Creating and opening are separate on purpose. A record that is missing is never made again by itself, because only
the operator can know that its key has not voted yet.
"""

from pathlib import Path

from chain.certificate import AuthoritySet
from chain.errors import InvalidGenesis, LedgerError
from genesis.specification import MAXIMUM_FILE_BYTES, Specification, from_file
from node.config import NodeFiles
from node.consensus.signer import LocalKeys, Signer
from node.executor import create_store
from node.keys import read_secret
from node.store_errors import StoreExists


class SignerRecordExists(LedgerError):
    code = 2305
    hint = "Keep it: it is what prevents this authority from voting twice."


class WrongAuthorityKey(LedgerError):
    code = 2304
    hint = "The authority set names another BLS key for this node key. Use the two files that were made together."


def read_genesis(path: Path) -> Specification:
    """The checked specification of a genesis file. Raises InvalidGenesis."""
    try:
        with path.open("rb") as file:
            data = file.read(MAXIMUM_FILE_BYTES + 1)
        return from_file(data.decode("utf-8"))
    except OSError as error:
        raise InvalidGenesis(file=str(path), reason=error.strerror or "cannot be read") from error
    except UnicodeDecodeError as error:
        raise InvalidGenesis(file=str(path), reason="not UTF-8") from error


def begin_signer_record(files: NodeFiles, chain_id: str) -> None:
    """Make the record of what an authority signs. Raises SignerRecordExists, KeyFileUnusable or a signer's error."""
    if files.bls_key is None:
        raise ValueError("only an authority signs")
    if files.signer_record.exists():
        raise SignerRecordExists(file=str(files.signer_record))
    keys = LocalKeys(read_secret(files.node_key), read_secret(files.bls_key))
    Signer.open(files.signer_record, chain_id=chain_id, keys=keys, initialise=True).close()


def open_signer(files: NodeFiles, chain_id: str, authorities: AuthoritySet) -> Signer | None:
    """The signer of a node that has both keys, whether or not it is in the present set; None for one that has not.

    An authority's two keys are replaced together, so a set that names the node key with another BLS key shows that two
    files were mixed up. Raises WrongAuthorityKey, KeyFileUnusable, or a signer's error, above all SignerRecordMissing.
    """
    if files.bls_key is None:
        return None
    keys = LocalKeys(read_secret(files.node_key), read_secret(files.bls_key))
    if authorities.index_of(keys.node_key) != authorities.index_of_both(keys.node_key, keys.bls_key):
        raise WrongAuthorityKey(file=str(files.bls_key))
    return Signer.open(files.signer_record, chain_id=chain_id, keys=keys)


def initialise(files: NodeFiles, specification: Specification) -> bool:
    """Make a node's database and, for an authority without one, its signer's record; whether a record was made.

    A record that is there is kept: a database that was lost can be fetched again from the other nodes, it cannot.

    Raises StoreExists, and what writing and reading the files raises. A record is never made beside a database.
    """
    files.data.mkdir(parents=True, exist_ok=True)
    if files.database.exists():
        raise StoreExists(path=str(files.database))
    begun = files.bls_key is not None and not files.signer_record.exists()
    if begun:
        begin_signer_record(files, specification.chain_id)
    else:
        signer = open_signer(files, specification.chain_id, specification.authority_set())
        if signer is not None:
            signer.close()
    create_store(files.database, specification)
    return begun
