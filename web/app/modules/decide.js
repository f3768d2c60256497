/** What a card says of a picture's outputs: the same rules as `clinquant predict`. Every number comes from the card. */

/**
 * @param {ArrayLike<number>} logits one a class
 * @param {Card} card
 * @param {number | null} distance from the training pictures; null where the card has no rule for what is out of scope
 * @returns {Answer}
 */
export function decide(logits, card, distance) {
  const probabilities = softmax(logits);
  const highest = Math.max(...probabilities);
  let index = probabilities.indexOf(highest);
  if (card.threshold !== null && card.positive !== null) {
    index = probabilities[card.positive] >= card.threshold ? card.positive : 1 - card.positive;
  }
  const outOfScope = distance !== null && card.scope != null && distance > card.scope.limit;
  return {
    index,
    className: card.classes[index],
    probability: probabilities[index],
    probabilities,
    outOfScope,
    distance,
    refer: outOfScope || (card.refer_below !== null && highest < card.refer_below),
    set: outOfScope ? [] : predictionSet(probabilities, card),
  };
}

/**
 * Classes that the case may have by the card's conformal rule, the likeliest first; none without a rule.
 * @param {number[]} probabilities
 * @param {Card} card
 * @returns {string[]}
 */
function predictionSet(probabilities, { sets, classes }) {
  if (sets == null) return [];
  const likeliest = probabilities.indexOf(Math.max(...probabilities));
  const inside = classes.map((_, k) => k).filter((k) => k === likeliest || probabilities[k] >= sets.at_least[k]);
  return inside.sort((a, b) => probabilities[b] - probabilities[a]).map((k) => classes[k]);
}

/** In float64, as numpy does. @param {ArrayLike<number>} logits @returns {number[]} */
export function softmax(logits) {
  const values = Array.from(logits);
  const most = Math.max(...values);
  const powers = values.map((value) => Math.exp(value - most));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}
