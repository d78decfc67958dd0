"""How good an animation is: measures against the truth, and the reenactments that they are taken of."""
