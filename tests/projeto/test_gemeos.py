"""As duas arquiteturas contam a mesma loja: comum/ é igual nas duas pastas, byte por byte."""

from __future__ import annotations

from conftest import RAIZ


def test_comum_e_a_mesma_nas_duas_alas():
    um, outro = ({a.name: a.read_bytes() for a in (RAIZ / ala / "comum").glob("*.py")}
                 for ala in ("monolito", "microsservicos"))
    assert um.keys() == outro.keys() and len(um) > 5
    diferentes = [nome for nome in um if um[nome] != outro[nome]]
    assert not diferentes, f"copie de uma ala para a outra: {diferentes}"
