/** What a card says of logits: the same rules as `clinquant predict`. Every number comes from the card. */

/**
 * @param {ArrayLike<number>} logits one a class
 * @param {Card} card
 * @returns {Answer}
 */
export function decide(logits, card) {
  const probabilities = softmax(logits);
  const highest = Math.max(...probabilities);
  let index = probabilities.indexOf(highest);
  if (card.threshold !== null && card.positive !== null) {
    index = probabilities[card.positive] >= card.threshold ? card.positive : 1 - card.positive;
  }
  return {
    index,
    className: card.classes[index],
    probability: probabilities[index],
    probabilities,
    refer: card.refer_below !== null && highest < card.refer_below,
  };
}

/** In float64, as numpy does. @param {ArrayLike<number>} logits @returns {number[]} */
export function softmax(logits) {
  const values = Array.from(logits);
  const most = Math.max(...values);
  const powers = values.map((value) => Math.exp(value - most));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}
