"""Who plays in the fault run: the queues, the keys, and the clients with their parts.

Read by clients, by the driver, and by the judge.
"""

# Queues that sessions join, and those that are only pulled from.
JOINED = ["push1", "push2", "push3", "mix", "told"]
PULLED = ["pull", "lend"]
QUEUES = JOINED + PULLED

# The queue of the one listener that is always free: nothing hides that it was not woken.
SINGLE = "single"

# Queues of jobs, and of the messages of series; the keys of jobs, and who posts them.
POOLS = ["active", "passive", "work"]
BEAT = "beat"
JOB_KEYS = [f"job{n}" for n in range(4)]
ROLES = ["postgres", "alice", "bob"]
HANDLED = "bob"         # his errors are handled

# All events of a key have the same max_retries.
KEYS = [f"key{n}" for n in range(8)]
RETRIES = [0, 1, 3, -1]

# name -> (kind, the queues it deals with)
CLIENTS = {
    "poster1": ("poster", QUEUES),
    "poster2": ("poster", QUEUES),
    "poster3": ("poster", QUEUES),
    "poster4": ("poster", JOINED),
    "lister1": ("listener", ["push1", "push2"]),
    "lister2": ("listener", ["push1", "push3"]),
    "lister3": ("listener", ["push2", "push3"]),
    "lister4": ("listener", ["push1", "mix"]),
    "lister5": ("listener", ["push3", "mix"]),
    "teller1": ("teller", ["told"]),
    "teller2": ("teller", ["told"]),
    "taker1": ("taker", ["pull"]),
    "taker2": ("taker", ["pull", "mix"]),
    "receiver1": ("receiver", ["lend"]),
    "receiver2": ("receiver", ["lend", "mix"]),
    "meddler1": ("meddler", QUEUES),
    "meddler2": ("meddler", QUEUES),
    "jobber1": ("jobber", POOLS),
    "jobber2": ("jobber", POOLS),
    "foreman1": ("foreman", POOLS),
    "serial1": ("serial", []),
    "beater1": ("beater", []),
    "beater2": ("beater", []),
    "ruler1": ("ruler", []),
    "ruler2": ("ruler", []),
    "ruler3": ("ruler", []),
    "stepper1": ("stepper", POOLS),
    "mapper1": ("mapper", POOLS),
    "mapper2": ("mapper", POOLS),
    "watcher1": ("watcher", []),
    "single1": ("single", [SINGLE]),
    "holder1": ("holder", []),
    "finisher1": ("finisher", []),
    "deaf1": ("deaf", []),
}


# What may happen in a round, and how probable that is.
WHIMS = {"soft": 0.8, "steer": 0.6, "hold": 0.7, "deaf": 0.4, "meddle": 0.8}

# In every other round also this, all of which makes the scheduler look at everything anew
# and so makes good what else would be found stuck.
WILD_WHIMS = {"crash": 0.8, "prepare": 0.7, "past": 0.7}


def choose_whims(dice):
    chances = WHIMS | (WILD_WHIMS if dice.random() < 0.5 else {})
    return [whim for whim, chance in chances.items() if dice.random() < chance]


def role_of_key(key):
    """Who posts the jobs of a key: it is nobody else's then."""
    return ROLES[JOB_KEYS.index(key) % len(ROLES)]


def retries_of_key(key):
    return RETRIES[KEYS.index(key) % len(RETRIES)]
