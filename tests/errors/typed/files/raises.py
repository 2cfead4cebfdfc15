from testbed.runner.experiment import Adjacencies, Experiment, Measures


class Raises(Experiment):
    name = "raises"
    title = question = method = "t"
    topology = "line:3"
    keyings = ("none",)
    seeds = 1
    duration_s = 60.0

    def timeline(self, topology, rng):
        return [1 / 0]

    def measure(self, run):
        return Measures(1.0, Adjacencies(1, 1))
