"""Distillation: teachers answer to the student's jets as they see them, and a student can be another net."""

import dataclasses

import numpy as np
import pytest
from compress_tasks import NETS, model_of, task_of
from hypothesis import given
from hypothesis import strategies as st
from small_model import trained

from edgephys.applications.jets.data import inputs
from edgephys.applications.jets.networks.deepsets import DeepSets
from edgephys.applications.jets.networks.interaction import InteractionNetwork
from edgephys.applications.jets.task import of_trained
from edgephys.applications.task import Distillation
from edgephys.compress.model_structure import kernel_layers, rebuilt, requantised
from edgephys.compress.stages.distil import Distil
from edgephys.compress.stages.finetune import Finetune
from edgephys.core.errors import ModelError, UsageError
from edgephys.models.trained import save

STUDENT = DeepSets(constituents=8, phi=(6, 5), rho=(5,), bits=6)
TEACHER = InteractionNetwork(constituents=32, effects=(3,), objects=(4,), classifier=(5,), bits=6)
SCRIPT = "models/jet_deepsets.py"


def save_as(folder, seed, net, **card):
    made = trained(seed, net=net)
    return str(save(dataclasses.replace(made, card=dataclasses.replace(made.card, **card)), folder))


@pytest.fixture(scope="module")
def student():
    made = trained(3, net=STUDENT)
    return dataclasses.replace(
        made, card=dataclasses.replace(made.card, recipe={"validation": 0.1, "test": 0.3, "seed": 5})
    )


@pytest.fixture(scope="module")
def task(student, few_jets):
    return of_trained(student, few_jets)


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    top = tmp_path_factory.mktemp("teachers")
    small = DeepSets(constituents=3, phi=(4,), rho=(), bits=4)
    return [
        save_as(top / "interaction", 1, TEACHER),
        save_as(top / "deepsets", 2, small),
        save_as(top / "scaled", 2, small, logit_scale=4.0),
    ]


# What teachers answer ---------------------------------------------------------------------------


def keyed(values):
    """Name each jet by its constituents, in whatever order they come."""
    return [np.sort(jet.view(np.dtype((np.void, jet.itemsize * jet.shape[-1]))), axis=0).tobytes() for jet in values]


@pytest.mark.slow
def test_a_large_interaction_network_answers_to_the_jets_of_a_small_deep_sets_in_their_order(
    student, task, teachers, few_jets
):
    """Found again among all jets of the file, each by what the student sees of it."""
    read = inputs.read(few_jets, 8, STUDENT.features)
    ready = student.standardisation
    names = keyed(ready.output.values(ready.apply(read.features)).astype(np.float32))
    teacher = trained(1, net=TEACHER)
    seen = teacher.standardisation.apply(inputs.read(few_jets, 32, TEACHER.features).features)
    answers = teacher.model.predict(TEACHER.input.values(seen).astype(np.float32), batch_size=512, verbose=0)
    answer_of = dict(zip(names, answers, strict=True))
    assert len(answer_of) == 2000
    found = task.with_teachers(teachers[:1], 2.0, 0.7).distillation.outputs
    wanted = [answer_of[name] for name in keyed(task.train[0])]
    assert len(found) == len(task.train[1]) and np.array_equal(found, wanted)
    assert len(np.unique(found, axis=0)) > 100


@pytest.mark.slow
def test_several_teachers_answer_with_their_mean(task, teachers):
    one, other = (task.with_teachers([teacher], 2.0, 0.7).distillation.outputs for teacher in teachers[1:3])
    both = task.with_teachers(teachers[1:3], 2.0, 0.7).distillation.outputs
    np.testing.assert_allclose(both, (one + other) / 2, rtol=1e-6)
    assert not np.allclose(one, other)


def test_a_teacher_s_logits_count_times_its_scale(task, teachers):
    plain, scaled = (task.with_teachers([teacher], 2.0, 0.7).distillation.outputs for teacher in teachers[1:])
    assert np.array_equal(scaled, 4 * plain)


def test_without_teachers_the_task_stays_what_it_is(task):
    assert task.with_teachers((), 2.0, 0.7) is task


def test_a_teacher_of_other_classes_is_refused_in_one_line(task, tmp_path):
    folder = save_as(tmp_path / "four", 1, dataclasses.replace(TEACHER, constituents=2, classes=4))
    message = f"teacher {folder}: it must know the 5 classes of the model that it teaches, not 4; choose one"
    with pytest.raises(UsageError, match=message) as refused:
        task.with_teachers([folder], 2.0, 0.7)
    assert "\n" not in str(refused.value)


def test_a_missing_teacher_is_refused_with_how_to_make_one(task, tmp_path):
    with pytest.raises(ModelError, match=r"nobody: expected a model's folder with card.json; `edgephys train SCRIPT"):
        task.with_teachers([str(tmp_path / "nobody")], 2.0, 0.7)


# What the student makes of it -------------------------------------------------------------------


def softmax(logits):
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


@given(st.integers(0, 2**32 - 1), st.floats(0.2, 20), st.floats(0, 1), st.sampled_from([0.5, 1.0, 8.0]))
def test_the_loss_is_the_paper_s(seed, temperature, share, scale):
    """share * T**2 * KL(teacher / T, student / T) + (1 - share) * CE, of logits times their scale."""
    random = np.random.default_rng(seed)
    logits, taught = random.normal(0, 2, (2, 7, 5)).astype(np.float32)
    labels = random.integers(0, 5, 7)
    task = dataclasses.replace(
        task_of(NETS["mlp"], 8), scale=scale, distillation=Distillation(taught, temperature, share)
    )
    answer, wanted = softmax(logits.astype(float) * scale / temperature), softmax(taught.astype(float) / temperature)
    apart = np.sum(wanted * np.log(wanted / answer), -1).mean()
    hard = -np.log(softmax(logits.astype(float) * scale)[np.arange(7), labels]).mean()
    loss = float(task.loss(labels, logits, taught))
    assert loss == pytest.approx(share * temperature**2 * apart + (1 - share) * hard, rel=1e-3, abs=1e-4)


def apart(model, task):
    answer = softmax(model(task.train[0]).numpy().astype(float))
    wanted = softmax(task.distillation.outputs.astype(float))
    return np.sum(wanted * np.log(wanted / answer), -1).mean()


@pytest.mark.slow
def test_a_student_learns_its_teacher_s_answers_where_the_labels_say_nothing():
    net = NETS["mlp"]
    task = task_of(net)
    noise = np.random.default_rng(2).integers(0, 5, len(task.train[1]))
    teacher = model_of(net, seed=2)
    distillation = Distillation(teacher.predict(task.train[0], verbose=0), 1.0, 1.0)
    task = dataclasses.replace(task, train=(task.train[0], noise), distillation=distillation)
    before = model_of(net, seed=1)
    after = Finetune(epochs=12, batch=32, learning_rate=3e-2, keep="last").apply(before, task, 1).model
    assert apart(after, task) < apart(before, task) / 2


# The student ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_student_of_another_net_is_trained_after_its_teacher(student, task, teachers):
    settings = ("phi=4", "rho=3", "bits=5")
    stage = Distil(epochs=1, batch=256, teacher=(teachers[0],), script=SCRIPT, settings=settings)
    made = stage.apply(student.model, task, 1)
    layers = {layer.name: layer for layer in kernel_layers(made.model)}
    assert [layer.units for layer in layers.values()] == [4, 3, 5]
    assert layers["phi_1"].kernel_quantizer_internal.bits == 5
    assert made.notes["parameters"] == made.model.count_params() and made.notes["kept_epoch"] == 1


def same(one, other):
    return all(np.array_equal(*pair) for pair in zip(one.get_weights(), other.get_weights(), strict=True))


def test_without_a_script_the_given_weights_are_trained_on_or_drawn_anew():
    net = NETS["mlp"]
    model, task = model_of(net), task_of(net)
    assert same(Distil().student(model, task, 1), model)
    assert same(Distil(start="weights").student(model, task, 1), model)
    coarser = rebuilt(model, lambda layer: requantised(layer, 6, 0) if layer.name == "hidden_1" else None)
    one, again, other = (Distil(start="random").student(coarser, task, seed) for seed in (1, 1, 2))
    assert same(one, again) and not same(one, other)
    for layer in kernel_layers(model):
        kernel = one.get_layer(layer.name).kernel.numpy()
        assert np.count_nonzero(kernel) == kernel.size
        assert not np.isin(kernel, layer.kernel.numpy()).any()


def test_a_script_s_net_starts_from_random_weights_or_from_the_given_ones():
    net = STUDENT
    model, task = model_of(net), task_of(net)
    stage = Distil(script=SCRIPT, settings=("phi=6,5", "rho=5", "bits=4"))
    assert not same(stage.student(model, task, 1), model)
    taken = dataclasses.replace(stage, start="weights")
    made = taken.student(model, task, 1)
    assert same(made, model) and kernel_layers(made)[0].kernel_quantizer_internal.bits == 4
    with pytest.raises(ModelError, match=r"the model's weights .* must be the student's .*; set start = 'random'"):
        dataclasses.replace(taken, settings=("phi=7",)).student(model, task, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("constituents=4",), "its constituents must be the task's, 8, not 4; change it in settings"),
        (("features=pt",), "its features must be the task's, log2pt,etarel,phirel, not pt; change it in settings"),
        (("classes=3",), "its classes must be the task's, 5, not 3"),
        (("input_bits=10",), "its input format must be the task's, .*12.*, not .*10"),
        (("bits=float",), "it must have bits, not be float; put bits=8, say, in settings"),
        (("epochs=3",), "settings: epochs is of the training, not of the student's net; set it in the stage itself"),
        (("width=3",), "expected KEY=VALUE with KEY one of"),
    ],
)
def test_a_student_that_does_not_fit_the_task_is_refused(student, task, settings, message):
    with pytest.raises(UsageError, match=message):
        Distil(script=SCRIPT, settings=settings).student(student.model, task, 1)


def test_a_script_that_is_not_there_is_refused(student, task):
    with pytest.raises(UsageError, match=r"models/none\.py: no such training script"):
        Distil(script="models/none.py").student(student.model, task, 1)


def test_words_that_mean_nothing_are_refused():
    with pytest.raises(UsageError, match="start must be one of random, weights, not 'zero'"):
        Distil(start="zero")
    with pytest.raises(UsageError, match="settings change the net of a script; set script"):
        Distil(settings=("bits=4",))
