"""The cards of the generated trajectories. Imports no torch."""

from __future__ import annotations

from integrand.spec import Density, Forecast, Question, SeriesSpec

from ..card import DataCard

_HERE = "integrand.datamodules.trajectories"
_REFERENCE = "DOP853 at rtol 1e-12, in float64"
_HNN = "Greydanus, Dzamba and Yosinski (2019), Hamiltonian neural networks, NeurIPS 32"
_THREE = "₁₂₃"
_TWO_BODIES = ("x₁", "y₁", "x₂", "y₂", "u₁", "v₁", "u₂", "v₂")
_THREE_BODIES = tuple(f"{axis}{index}" for part in ("xy", "uv") for index in _THREE for axis in part)
_ATTRACTOR = ((8.0, 9.0, 8.6), (0.0, 0.0, 23.5))
"""Deviation and mean on the Lorenz attractor, rounded: units in which a network sees it."""


def _card(
    class_name: str,
    name: str,
    file: str,
    title: str,
    names: tuple[str, ...],
    reference: str,
    channels: int = 0,
    question: Question = Forecast(1, 10),  # noqa: B008  # frozen
    counts: tuple[int, int] = (50, 20),
    note: str = _REFERENCE,
    scales: tuple[float, ...] = (),
    shifts: tuple[float, ...] = (),
) -> DataCard:
    channels = channels or len(names)
    length = 33 if isinstance(question, Density) else 1
    return DataCard(
        name=name,
        class_name=class_name,
        module=f"{_HERE}.{file}",
        title=title,
        group="trajectories",
        spec=SeriesSpec(
            name,
            question,
            channels=channels,
            length=length,
            names=names,
            scales=scales,
            shifts=shifts,
            step=0.1,
        ),
        counts={"train": counts[0], "test": counts[1]},
        licence="drawn by a formula",
        reference=reference,
        note=note,
        origin="formula",
    )


PENDULUM = _card(
    "Pendulum",
    "pendulum",
    "pendulum",
    "angle and momentum of a pendulum, free, damped or driven",
    ("q", "p"),
    "Huygens (1673), Horologium oscillatorium; as a test of learned dynamics: " + _HNN,
)
SPRING = _card("Spring", "spring", "spring", "a mass on a spring", ("q", "p"), _HNN)
LINEAR_SPIRAL = _card(
    "LinearSpiral",
    "linear-spiral",
    "spirals",
    "a spiral into the origin, of a linear equation",
    ("x", "y"),
    "Chen, Rubanova, Bettencourt and Duvenaud (2018), Neural ordinary differential equations, NeurIPS 31",
)
CUBIC_SPIRAL = _card(
    "CubicSpiral",
    "cubic-spiral",
    "spirals",
    "a spiral into the origin, of a cubic equation",
    ("x", "y"),
    "Chen, Rubanova, Bettencourt and Duvenaud (2018), Neural ordinary differential equations, NeurIPS 31",
)
LOTKA_VOLTERRA = _card(
    "LotkaVolterra",
    "lotka-volterra",
    "lotka_volterra",
    "prey and predators",
    ("prey", "predators"),
    "Lotka (1925), Elements of physical biology; Rackauckas et al. (2020), Universal differential equations",
)
VAN_DER_POL = _card(
    "VanDerPol",
    "van-der-pol",
    "oscillators",
    "an oscillator with a limit cycle",
    ("x", "y"),
    "van der Pol (1926), On relaxation-oscillations, Philosophical Magazine 2",
)
DUFFING = _card(
    "Duffing",
    "duffing",
    "oscillators",
    "an oscillator with two wells, free, damped or driven",
    ("x", "y"),
    "Duffing (1918); Guckenheimer and Holmes (1983), Nonlinear oscillations, section 2.2",
)
FITZHUGH_NAGUMO = _card(
    "FitzHughNagumo",
    "fitzhugh-nagumo",
    "oscillators",
    "an excitable cell",
    ("v", "w"),
    "FitzHugh (1961), Biophysical Journal 1; Nagumo, Arimoto and Yoshizawa (1962), Proceedings of the IRE 50",
)
LORENZ = _card(
    "Lorenz",
    "lorenz",
    "lorenz",
    "Lorenz's chaotic model of convection",
    ("x", "y", "z"),
    "Lorenz (1963), Deterministic nonperiodic flow, Journal of the Atmospheric Sciences 20",
    note=f"{_REFERENCE}; chaotic: exact to about 20 units of time",
    scales=_ATTRACTOR[0],
    shifts=_ATTRACTOR[1],
)
STOCHASTIC_LORENZ = _card(
    "StochasticLorenz",
    "stochastic-lorenz",
    "lorenz",
    "Lorenz's model with multiplicative noise",
    ("x", "y", "z"),
    "Li, Wong, Chen and Duvenaud (2020), Scalable gradients for stochastic differential equations, AISTATS",
    note="Euler's method in steps of 0.001",
    scales=_ATTRACTOR[0],
    shifts=_ATTRACTOR[1],
)
DOUBLE_PENDULUM = _card(
    "DoublePendulum",
    "double-pendulum",
    "double_pendulum",
    "two pendulums, one hung on the other",
    ("θ₁", "θ₂", "ω₁", "ω₂"),
    "Cranmer, Greydanus, Hoyer, Battaglia, Spergel and Ho (2020), Lagrangian neural networks",
    note=f"{_REFERENCE}; chaotic: tolerances a tenth apart differ by 3e-5 after ten units of time",
)
TWO_BODY = _card(
    "TwoBody",
    "two-body",
    "bodies",
    "two masses around each other",
    _TWO_BODIES,
    _HNN,
)
THREE_BODY = _card(
    "ThreeBody",
    "three-body",
    "bodies",
    "three masses around each other",
    _THREE_BODIES,
    _HNN,
    note=f"{_REFERENCE}; chaotic",
)
BOUNCING_BALL = _card(
    "BouncingBall",
    "bouncing-ball",
    "bouncing_ball",
    "a ball that falls and bounces: events",
    ("height", "speed"),
    "Chen, Amos and Nickel (2021), Learning neural event functions for ordinary differential equations, ICLR",
    note="closed form",
)
ORNSTEIN_UHLENBECK = _card(
    "OrnsteinUhlenbeck",
    "ornstein-uhlenbeck",
    "diffusions",
    "a noisy path that returns to its mean",
    ("x",),
    "Uhlenbeck and Ornstein (1930), On the theory of the Brownian motion, Physical Review 36",
    question=Density(),
    counts=(1024, 1024),
    note="drawn from the exact transition law",
)
GEOMETRIC_BROWNIAN_MOTION = _card(
    "GeometricBrownianMotion",
    "geometric-brownian-motion",
    "diffusions",
    "a price that grows with multiplicative noise",
    ("x",),
    "Black and Scholes (1973), The pricing of options and corporate liabilities, J. Political Economy 81",
    question=Density(),
    counts=(1024, 1024),
    note="drawn from the exact transition law",
)
HEAT = _card(
    "Heat",
    "heat",
    "fields",
    "heat on a ring of 64 points",
    (),
    "Fourier (1822), Théorie analytique de la chaleur",
    channels=64,
    counts=(20, 20),
    note="closed form in Fourier space",
)
BURGERS = _card(
    "Burgers",
    "burgers",
    "fields",
    "waves that steepen against viscosity, on a ring of 64 points",
    (),
    "Burgers (1948), A mathematical model illustrating the theory of turbulence, Adv. Appl. Mechanics 1",
    channels=64,
    counts=(20, 20),
)
KURAMOTO_SIVASHINSKY = _card(
    "KuramotoSivashinsky",
    "kuramoto-sivashinsky",
    "fields",
    "chaos in space and time, on a ring of 64 points",
    (),
    "Kuramoto (1978), Progress of Theoretical Physics Supplement 64; Sivashinsky (1977), Acta Astronautica 4",
    channels=64,
    counts=(20, 20),
    note="exponential Runge-Kutta of order four in steps of 1/16; chaotic",
)
HNN_SPRING = _card(
    "HNNSpring",
    "hnn-spring",
    "greydanus",
    "the spring as in the experiments on Hamiltonian networks",
    ("q", "p"),
    _HNN + ", section 3.1",
    counts=(25, 15),
)
HNN_PENDULUM = _card(
    "HNNPendulum",
    "hnn-pendulum",
    "greydanus",
    "the pendulum as in the experiments on Hamiltonian networks",
    ("q", "p"),
    _HNN + ", section 3.2",
    counts=(25, 15),
)
HNN_TWO_BODY = _card(
    "HNNTwoBody",
    "hnn-two-body",
    "greydanus",
    "two bodies as in the experiments on Hamiltonian networks",
    _TWO_BODIES,
    _HNN + ", section 4",
    counts=(800, 15),
)
HNN_THREE_BODY = _card(
    "HNNThreeBody",
    "hnn-three-body",
    "greydanus",
    "three bodies as in the experiments on Hamiltonian networks",
    _THREE_BODIES,
    _HNN + ", section 4",
    counts=(4000, 15),
)

CARDS = (
    PENDULUM,
    SPRING,
    LINEAR_SPIRAL,
    CUBIC_SPIRAL,
    LOTKA_VOLTERRA,
    VAN_DER_POL,
    DUFFING,
    FITZHUGH_NAGUMO,
    LORENZ,
    STOCHASTIC_LORENZ,
    DOUBLE_PENDULUM,
    TWO_BODY,
    THREE_BODY,
    BOUNCING_BALL,
    ORNSTEIN_UHLENBECK,
    GEOMETRIC_BROWNIAN_MOTION,
    HEAT,
    BURGERS,
    KURAMOTO_SIVASHINSKY,
    HNN_SPRING,
    HNN_PENDULUM,
    HNN_TWO_BODY,
    HNN_THREE_BODY,
)
