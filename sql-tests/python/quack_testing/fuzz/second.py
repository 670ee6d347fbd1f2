"""A second connection, which reads beside the first: what is committed, or was when its transaction began."""

from quack_testing.fuzz.steps import Step

CONNECTION = "b"


class Second:
    def __init__(self, random):
        self.random = random
        self.in_transaction = False

    def next(self, model):
        choice = self.random.random()
        if self.in_transaction and choice < 0.3:
            return self.end()
        if not self.in_transaction and choice < 0.4:
            self.in_transaction = True
            # The snapshot is that of the first look, not that of BEGIN.
            return [Step("BEGIN", connection=CONNECTION), Step("SHOW TABLES", connection=CONNECTION)]
        names = [table.full_name for table in model.permanent()] + model.views
        return Step(f"FROM {self.random.choice(names)}", connection=CONNECTION) if names else None

    def end(self):
        self.in_transaction = False
        return Step("COMMIT", connection=CONNECTION)
