"""Linear systems with I - hγJ, by factors or by products alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from ..accounts import CountedField
from .differentiation import differentiating, leaf, linearise, normal
from .gmres import gmres

Product = Callable[[Tensor], Tensor]
GRADIENT_ITERATIONS = 12
GRADIENT_ACCURACY = {torch.float64: 1e-10, torch.float32: 1e-6}
"""Relative accuracy of the transposed solves: far below any tolerance in use, above rounding."""


class System(ABC):
    """(I - hγJ) x = b of every sample, J taken at one point."""

    @abstractmethod
    def solve(self, b: Tensor) -> Tensor:
        """(I - hγJ)⁻¹ b, shape of b."""

    @abstractmethod
    def solve_transposed(self, b: Tensor, product: Product) -> Tensor | None:
        """W with w - hγ J'ᵀw = b, where `product` is w ↦ hγ J'ᵀ w at another point; None where it fails."""


class Jacobian(ABC):
    """∂f/∂y at one point, and what it takes to solve with it."""

    value: Tensor
    """f at that point."""

    @abstractmethod
    def system(self, step: float) -> System:
        """I - step·J."""


JacobianMaker = Callable[[CountedField, Tensor, Tensor, bool], Jacobian]


class DenseJacobian(Jacobian):
    """d vector-Jacobian products; factored.

    Args:
        field: The field.
        t: Time, 0-d.
        y: State, shape (batch, ...).
        graph: Whether `value` carries gradients to y and to the parameters.
    """

    def __init__(self, field: CountedField, t: Tensor, y: Tensor, graph: bool) -> None:
        found = linearise(field, t, y, graph=graph)
        self.value, self.matrix = found.value, found.jacobian.detach()

    def system(self, step: float) -> System:
        """I - step·J, factored."""
        return Factored(self.matrix, step)


class Factored(System):
    """LU factors of every sample's I - step·J.

    Args:
        jacobian: Shape (batch, d, d).
        step: hγ.
    """

    def __init__(self, jacobian: Tensor, step: float) -> None:
        eye = torch.eye(jacobian.shape[-1], dtype=jacobian.dtype, device=jacobian.device)
        # a singular matrix gives infinities, and those a smaller step
        self.lu, self.pivots, _ = torch.linalg.lu_factor_ex(eye - step * jacobian)

    def solve(self, b: Tensor, adjoint: bool = False) -> Tensor:
        """(I - hγJ)⁻¹ b, or with the transpose."""
        columns = b.reshape(len(b), -1).unsqueeze(-1)
        solved: Tensor = torch.linalg.lu_solve(self.lu, self.pivots, columns, adjoint=adjoint)
        return solved.view_as(b)

    def solve_transposed(self, b: Tensor, product: Product) -> Tensor | None:
        """Chord iterations w ← w + M⁻ᵀ(b - w + hγJ'ᵀw), to `GRADIENT_ACCURACY`."""
        w = self.solve(b, adjoint=True)
        size, target = None, GRADIENT_ACCURACY[b.dtype]
        for _ in range(GRADIENT_ITERATIONS):
            change = self.solve(b - w + product(w), adjoint=True)
            w = w + change
            new, whole = torch.stack((change.norm(), w.norm())).tolist()
            rate = 0.0 if not size else new / size
            if not rate < 1:
                return w if new <= target * whole else None
            if (size is not None or new == 0) and new * rate <= target * whole * (1 - rate):
                return w
            size = new
        return None


class MatrixFreeJacobian(Jacobian):
    """Products with J and Jᵀ through the graph of one evaluation.

    Jx is the derivative by w of the product Jᵀw, so the field must be twice differentiable by autograd.

    Args:
        field: The field.
        t: Time, 0-d.
        y: State, shape (batch, ...).
        graph: Whether `value` carries gradients to y and to the parameters.
    """

    def __init__(self, field: CountedField, t: Tensor, y: Tensor, graph: bool) -> None:
        self.field = field
        with differentiating():
            self.point = leaf(y, graph)
            value = field(normal(t), self.point)
            self.w = torch.zeros_like(value).requires_grad_()
            self.transposed = (
                torch.autograd.grad(value, self.point, self.w, create_graph=True, allow_unused=True)[0]
                if value.requires_grad
                else None
            )
        self.value = value if graph else value.detach()
        field.add_vjps(1 - field.in_backward)

    def times(self, x: Tensor) -> Tensor:
        """J x."""
        if self.transposed is None or not self.transposed.requires_grad:
            return torch.zeros_like(x)
        self.field.add_vjps(1)
        with differentiating():
            (product,) = torch.autograd.grad(self.transposed, self.w, x.clone(), retain_graph=True)
        return product

    def system(self, step: float) -> System:
        """I - step·J, solved by GMRES."""
        return Krylov(self, step)


class Krylov(System):
    """GMRES of Saad and Schultz (1986), with a subspace of its own for every sample.

    Args:
        jacobian: Products with J.
        step: hγ.
    """

    def __init__(self, jacobian: MatrixFreeJacobian, step: float) -> None:
        self.jacobian, self.step = jacobian, step

    def solve(self, b: Tensor) -> Tensor:
        """(I - hγJ)⁻¹ b to a hundredth, which one more Newton iteration makes up for."""
        return gmres(lambda x: x - self.step * self.jacobian.times(x), b, 1e-2)[0]

    def solve_transposed(self, b: Tensor, product: Product) -> Tensor | None:
        """To `GRADIENT_ACCURACY`."""
        w, converged = gmres(lambda x: x - product(x), b, GRADIENT_ACCURACY[b.dtype])
        return w if converged else None
