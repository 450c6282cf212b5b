"""Going through a page by the Tab key alone, as one does who has no mouse."""

from __future__ import annotations

MOST_STEPS = 400

_PREPARE = """() => {
  const asks = "a[href], button, input, select, textarea, summary, [tabindex]";
  const can = (one) => one.tabIndex >= 0 && !one.disabled && one.checkVisibility({ visibilityProperty: true });
  window.toReach = new Set([...document.querySelectorAll(asks)].filter(can));
  document.activeElement.blur();
}"""
_STEP = """() => {
  const one = document.activeElement;
  if (!one || one === document.body) return null;
  window.toReach.delete(one);
  const style = getComputedStyle(one);
  const box = one.getBoundingClientRect();
  const [x, y] = [box.left + Math.min(box.width, 40) / 2, box.top + box.height / 2];
  const above = document.elementFromPoint(x, y);
  return {
    said: `${one.tagName} ${(one.ariaLabel || one.innerText || one.name || one.id).slice(0, 60)}`,
    outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    inSight: Boolean(above) && (one.contains(above) || above.contains(one)),
    first: one.matches(".skip"),
  };
}"""
_MISSED = """() => {
  const still = [...window.toReach].filter((one) => one.isConnected && !one.closest("tbody"));
  return still.map((one) => one.outerHTML);
}"""


def walk(page, key="Tab"):
    """Press a key until the focus has left the page; return what is wrong, in words.

    Rows of tables change places meanwhile, so that one may be missed; everything else has to be reached.
    """
    page.evaluate(_PREPARE)
    wrong, steps = [], 0
    for _ in range(MOST_STEPS):
        page.keyboard.press(key)
        at = page.evaluate(_STEP)
        if at is None or (at["first"] and steps):
            break
        steps += 1
        if not at["outlined"]:
            wrong.append(f"nothing shows that {at['said']} has the focus")
        if not at["inSight"]:
            wrong.append(f"{at['said']} has the focus and is out of sight, or covered")
    else:
        wrong.append(f"the focus is still on the page after {MOST_STEPS} steps")
    if not steps:
        wrong.append("nothing can be reached")
    return wrong + [f"never reached: {html[:120]}" for html in page.evaluate(_MISSED)]
