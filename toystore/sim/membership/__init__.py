"""Large simulated groups of nothing but `Swim` machines, and the papers' experiments on them."""
