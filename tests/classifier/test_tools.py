"""Tools of scikit-learn, some of which encode the labels: they are right, or refused."""

import numpy as np
import pytest
from helpers.packages import has_temperature
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

NAMES = np.array(["zero", "one", "two"])


def voting(model, X, y):
    return VotingClassifier([("a", model)], voting="soft").fit(X, y).predict(X)


def stacking(model, X, y):
    tool = StackingClassifier([("a", model)], LogisticRegression(), cv=2)
    return tool.fit(X, y).predict(X)


def probabilities(model, X, y):
    rows = cross_val_predict(model, X, y, cv=2, method="predict_proba")
    return np.unique(y)[rows.argmax(axis=1)]


def calibrated(ensemble):
    return lambda model, X, y: (
        CalibratedClassifierCV(model, method="temperature", cv=2, ensemble=ensemble)
        .fit(X, y)
        .predict(X)
    )


ENCODING = [
    pytest.param(voting, id="VotingClassifier"),
    pytest.param(stacking, id="StackingClassifier"),
    pytest.param(probabilities, id="cross_val_predict"),
    pytest.param(calibrated(True), id="CalibratedClassifierCV", marks=has_temperature),
    pytest.param(calibrated(False), id="CalibratedClassifierCV-one", marks=has_temperature),
]


@pytest.mark.parametrize("tool", ENCODING)
def test_encoded_labels_are_those_of_the_classes(tool, make, few):
    model = make(class_names={"a": "zero", "b": "one", "c": "two"})
    labels = np.array(["a", "b", "c"])[few.y]
    assert np.mean(tool(model, few.X, labels) == labels) > 0.75


@pytest.mark.parametrize("class_names", [sorted(NAMES), {0: "zero", 1: "one", 2: "two"}])
def test_encoded_labels_in_sorted_order_are_taken(class_names, make, few):
    labels = NAMES[few.y] if isinstance(class_names, list) else few.y
    found = probabilities(make(class_names=class_names), few.X, labels)
    assert np.mean(found == labels) > 0.75


@pytest.mark.parametrize("tool", [*ENCODING, lambda m, X, y: OneVsRestClassifier(m).fit(X, y)])
@pytest.mark.parametrize(
    ("class_names", "labels"),
    [
        (None, NAMES),
        (NAMES, NAMES),  # not sorted: which number is which?
        (NAMES, [0, 1, 2]),
        (("zero", "one", "two", "zzz"), [1, 2, 3]),
        (("a", "b", "c", "d"), ["b", "c", "d"]),
        ({"a": "zero", "b": "one", "c": "two", "d": "three"}, ["b", "c", "d"]),
        ({0: "zero", 1: "one", 2: "two", 3: "three"}, [1, 2, 3]),
    ],
)
def test_labels_that_may_be_codes_of_others_are_refused(tool, class_names, labels, make, few):
    with pytest.raises(ValueError, match=r"Give class_names in sorted order.*mapping|not among"):
        tool(make(class_names=class_names), few.X, np.array(labels)[few.y])


def test_codes_of_numbers_that_are_other_labels_are_refused(make, few):
    with pytest.raises(ValueError, match="labels not among the 3 classes: 0"):
        probabilities(make(class_names={1: "zero", 2: "one", 3: "two"}), few.X, few.y + 1)


@pytest.mark.parametrize("labels", [[0, 1, 2], NAMES])
def test_tools_that_keep_labels_take_any_order_of_names(labels, make, few):
    labels = np.array(labels)[few.y]
    pipeline = make_pipeline(FunctionTransformer(), make())
    assert cross_val_score(pipeline, few.X, labels, cv=2, error_score="raise").mean() > 0.75


def test_a_grid_of_nested_parameters_is_searched(make, few):
    grid = {"config__reg_weight": [0.1, 3.0], "train__epochs": [1]}
    search = GridSearchCV(make(config=None), grid, cv=2, error_score="raise").fit(few.X, few.y)
    assert search.best_params_["train__epochs"] == 1
    best = search.best_estimator_
    assert best.config == {"reg_weight": search.best_params_["config__reg_weight"]}
    assert best.train["epochs"] == 1 and best.train["lr"] == 4e-3
    assert search.cv_results_["mean_test_score"].min() > 0.3
