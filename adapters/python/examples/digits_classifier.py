#!/usr/bin/env python3
"""A small neural network on scikit-learn's handwritten digits: few errors with few weights.

    pip install ./adapters/python scikit-learn
    paretod serve --config adapters/python/examples/paretod.json
    paretod submit adapters/python/examples/digits-job.json --watch
"""
import numpy
import paretod
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

EPOCHS = 20
IMAGES, LABELS = load_digits(return_X_y=True)
TRAIN_X, TEST_X, TRAIN_Y, TEST_Y = train_test_split(IMAGES / 16.0, LABELS, test_size=0.33,
                                                    random_state=0)


@paretod.evaluator(objectives={"error": "min", "weights": "min"}, metrics=["epochs"],
                   version="digits 1",
                   space={"hidden": paretod.integer(2, 64),
                          "rate": paretod.real(1e-4, 1e-1, log=True),
                          "decay": paretod.real(1e-6, 1e-1, log=True),
                          "activation": paretod.categorical(["relu", "tanh"])})
def digits(trial):
    model = MLPClassifier((trial["hidden"],), activation=trial["activation"],
                          learning_rate_init=trial["rate"], alpha=trial["decay"],
                          random_state=trial.replicate)
    for epoch in range(1, EPOCHS + 1):
        trial.check()  # ends here if nobody wants the result any more
        model.partial_fit(TRAIN_X, TRAIN_Y, classes=range(10))
        wrong = (model.predict(TEST_X) != TEST_Y).astype(float)
        trial.report(done=epoch / EPOCHS, partial={"error": wrong.mean()})
    error = paretod.Measured(wrong.mean(), stderr=wrong.std() / numpy.sqrt(wrong.size), n=wrong.size)
    weights = sum(matrix.size for matrix in model.coefs_ + model.intercepts_)
    return paretod.Result({"error": error, "weights": weights}, metrics={"epochs": EPOCHS},
                          examples={"error": wrong})


if __name__ == "__main__":
    digits.run()
