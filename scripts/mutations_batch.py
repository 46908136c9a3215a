"""Bugs to plant in batches: see scripts/mutations.py."""

from mutation import Mutation

BATCH_MUTATIONS = (
    Mutation(
        "batch: a changed input is taken for the old one",
        "batch.py",
        'row.get("how_sha256") == how and row.get("stamp") == _stamp(item)',
        'row.get("how_sha256") == how',
        "test_batch.py -k done_again",
    ),
    Mutation(
        "batch: a changed recipe is taken for the old one",
        "batch.py",
        'row.get("how_sha256") == how and row.get("stamp") == _stamp(item)',
        'row.get("stamp") == _stamp(item)',
        "test_batch.py -k done_again",
    ),
    Mutation(
        "batch: written where others look at it",
        "batch.py",
        'self._restored(item, source.path, partial / "made")',
        "self._restored(item, source.path, Path(str(plan.out)) / item.name)",
        "test_batch.py -k 'restore_leaves or kill'",
    ),
    Mutation(
        "batch: an item's seed is not looked at",
        "batch.py",
        "self.recipe if item.seed is None else replace(self.recipe, seed=item.seed)",
        "self.recipe",
        "test_batch.py -k seed_of_each",
    ),
    Mutation(
        "batch: the words for all go before an item's own",
        "batch.py",
        "{**self.damage, **item.damage}",
        "{**item.damage, **self.damage}",
        "test_batch.py -k seed_of_each",
    ),
    Mutation(
        "items: a path out of the output",
        "items.py",
        'parts = [part for part in Path(member.name).parts if part not in ("/", "..", ".")]',
        "parts = Path(member.name).parts",
        "test_batch.py -k archives",
    ),
    Mutation(
        "items: names as they are",
        "items.py",
        'quote(part.encode("utf-8", "surrogateescape"), safe="")',
        "part",
        "test_batch.py -k restore_leaves",
    ),
    Mutation(
        "items: names that hide one another",
        "items.py",
        "return [_told_apart(item) if item.name in twice else item for item in found]",
        "return found",
        "test_batch.py -k seed_of_each",
    ),
    Mutation(
        "batch: a table after the work, not before",
        "batch.py",
        "    write_tables(plan.out, plan.part, tally.done, tally.failed)\n    watch(tally)\n",
        "    watch(tally)\n",
        "test_batch.py -k asked_for_before",
    ),
    Mutation(
        "outputs: a store that cannot be reached is taken for an empty one",
        "outputs.py",
        "                    raise data\n",
        "                    pass\n",
        "test_batch.py -k cannot_be_reached",
    ),
    Mutation(
        "outputs: what a store raises is no line",
        "outputs.py",
        "        except Exception as error:  # each kind of store raises errors of its own\n",
        "        except OSError as error:\n",
        "test_batch.py -k may_refuse",
    ),
    Mutation(
        "outputs: an item is said to be done before it is",
        "outputs.py",
        "key=lambda path: path == made / last",
        "key=lambda path: path != made / last",
        "test_batch.py -k last_file_says",
    ),
    Mutation(
        "outputs: a folder that is put anew keeps what was there",
        "outputs.py",
        "files.rm(self._at(name), recursive=True)",
        "pass",
        "test_batch.py -k last_file_says",
    ),
    Mutation(
        "batch: what failed once is told for ever",
        "batch.py",
        "plan.out.remove(_failure(item))",
        "pass",
        "test_batch.py -k 'tried_again or object_store'",
    ),
)
