"""Networks with auxiliary classifiers, which return a tuple in training and plain logits otherwise."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from cnnbench.data.batches import Batch
from cnnbench.data.image_normalization import Normalization
from cnnbench.evaluation.evaluate import evaluate
from cnnbench.networks.build import build
from cnnbench.networks.spec import NetworkSpec
from cnnbench.training.loop import train
from cnnbench.training.loss import batch_loss, count_right
from cnnbench.training.probe import probe
from trainings import CPU, PLAIN, random_images, run, small_network


class WithAuxiliary(nn.Module):
    """Two linear classifiers of one image; the second is heard in training alone."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.main, self.side = nn.Linear(36, 3), nn.Linear(36, 3)

    def forward(self, inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        flat = inputs.flatten(1)
        return (self.main(flat), self.side(flat)) if self.training else self.main(flat)


def batch_of(inputs: Tensor, labels: Tensor) -> Batch:
    return Batch(inputs, labels, len(labels))


def test_each_auxiliary_loss_weighs_three_tenths():
    generator = torch.Generator().manual_seed(0)
    outputs = tuple(torch.randn(4, 5, generator=generator) for _ in range(3))
    labels = torch.tensor([0, 4, 2, 2])
    main, first, second = (float(F.cross_entropy(logits, labels)) for logits in outputs)
    loss = batch_loss(outputs, batch_of(outputs[0], labels), label_smoothing=0.0)
    assert float(loss) == pytest.approx(main + 0.3 * (first + second), rel=1e-6)
    assert torch.equal(batch_loss(outputs[:1], batch_of(outputs[0], labels), 0.0), F.cross_entropy(outputs[0], labels))


def test_the_main_logits_alone_are_counted():
    right, wrong = torch.eye(3), torch.eye(3).roll(1, 0)
    batch = batch_of(right, torch.arange(3))
    assert int(count_right((right, wrong), batch)) == 3 and int(count_right((wrong, right), batch)) == 0


def test_training_moves_both_classifiers_and_validates_the_main_one():
    network = WithAuxiliary()
    before = network.side.weight.clone()
    trained, _ = run(PLAIN, network, epochs=4)
    assert not torch.equal(network.side.weight, before)
    assert trained.history[-1].train_loss < trained.history[0].train_loss
    held = evaluate(network, random_images(40, seed=1), normalization=Normalization.of(random_images(64)), device=CPU)
    assert held.loss == trained.history[-1].val_loss


def test_the_side_classifiers_gradient_is_three_tenths_of_its_own():
    network, inputs, labels = WithAuxiliary(), torch.randn(6, 1, 6, 6), torch.tensor([0, 1, 2, 0, 1, 2])
    batch_loss(network(inputs), batch_of(inputs, labels), 0.0).backward()
    (own,) = torch.autograd.grad(F.cross_entropy(network(inputs)[1], labels), [network.side.weight])
    assert torch.allclose(network.side.weight.grad, 0.3 * own, atol=1e-6)


def test_the_probe_takes_such_a_network():
    result = probe(WithAuxiliary, (1, 6, 6), 4, CPU, steps=1)
    assert not result.failures


def test_torchvisions_googlenet_has_two():
    network = torchvision.models.googlenet(weights=None, num_classes=3, init_weights=False).train()
    inputs, labels = torch.randn(2, 3, 64, 64), torch.tensor([0, 2])
    outputs = network(inputs)
    expected = sum(
        weight * F.cross_entropy(logits, labels)
        for weight, logits in ((1.0, outputs.logits), (0.3, outputs.aux_logits1), (0.3, outputs.aux_logits2))
    )
    assert torch.allclose(batch_loss(outputs, batch_of(inputs, labels), 0.0), expected)
    assert isinstance(small_network()(torch.randn(1, 1, 6, 6)), Tensor)


@pytest.mark.parametrize("components", [{}, {"activation": "silu"}])
def test_googlenet_trains_with_its_auxiliary_heads_and_is_scored_without_them(components):
    network, _ = build(NetworkSpec("googlenet", classes=3, channels=1, image_size=32, components=components))
    training = random_images(6, size=32)
    head = next(parameter for name, parameter in network.named_parameters() if name.startswith("aux1.fc2"))
    before = head.detach().clone()
    train(
        network, training, training, replace(PLAIN, batch_size=3), normalization=Normalization.of(training),
        epochs=1, seed=0, device=CPU,
    )  # fmt: skip
    assert not torch.equal(head, before)
    assert network.eval()(torch.zeros(2, 1, 32, 32)).shape == (2, 3)
