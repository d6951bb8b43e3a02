"""Against a real tracking server that dies in the middle of a run and returns."""

import pytest

from integrand.tracking.spool.sync import sync
from integrand.tracking.store.opening import open_store
from integrand.tracking.store.runs import check_store, checkpoint, config_path, find_run, read_record


def steps_of(client, run_id, key):
    return [p.step for p in client.get_metric_history(run_id, key)]


@pytest.mark.slow
def test_server_killed_and_restarted_in_mid_run(server, tiny):
    class Outage(tiny.TinyModule):
        def on_train_epoch_start(self):
            if self.current_epoch == 2:
                server.kill()
            if self.current_epoch == 4:
                server.start()

    trainer = tiny.fit(epochs=6, every=1, model=Outage(pause=0.02), tracking_uri=server.uri, flush_every=0.1)
    client = open_store(server.uri)
    run_id = trainer.logger.run_id
    assert client.get_run(run_id).info.status == "FINISHED"
    assert steps_of(client, run_id, "train/loss_step") == list(range(36))
    assert steps_of(client, run_id, "val/acc") == [5, 11, 17, 23, 29, 35]
    assert read_record(client, run_id).metrics["final/val_acc"] == trainer.callback_metrics["val/acc"].item()


@pytest.mark.slow
def test_server_killed_for_good_then_sync_brings_everything(server, tiny):
    class Outage(tiny.TinyModule):
        def on_train_epoch_start(self):
            if self.current_epoch == 1:
                server.kill()

    arguments = {"tracking_uri": server.uri, "flush_every": 0.1, "exit_seconds": 1.0}
    trainer = tiny.fit(epochs=3, every=1, model=Outage(), **arguments)
    run_id = trainer.logger.run_id
    assert trainer.state.finished
    assert "does not answer" in check_store(server.uri)
    assert [r.state for r in sync()] == ["failed"]
    server.start()
    assert [r.state for r in sync()] == ["sent"]
    client = open_store(server.uri)
    run = find_run(run_id[:12], server.uri)
    assert run.status == "FINISHED"
    assert steps_of(client, run_id, "train/loss_step") == list(range(18))
    paths = {item.path for item in client.list_artifacts(run_id)}
    assert paths >= {"record.json", "provenance.json", "checkpoints", "figures"}
    assert checkpoint(run, "last").exists()
    with pytest.raises(Exception, match="recorded no configuration"):
        config_path(run)  # the tiny fit has no command line
    # a later process goes on with the run, through the server's own artifact store
    tiny.fit(
        epochs=4, every=1, run_id=run_id, tracking_uri=server.uri, ckpt_path=str(checkpoint(run, "last"))
    )
    assert steps_of(client, run_id, "train/loss_step") == list(range(24))
    assert len(read_record(client, run_id).history["val/acc"]) == 4
