//! Implementation of the statement gate.

#include "gate.hpp"

#include "compat.hpp"
#include "statement.hpp"

#include "duckdb/main/client_context.hpp"
#include "duckdb/main/client_data.hpp"
#include "duckdb/main/prepared_statement_data.hpp"

using namespace duckdb;

namespace quack {

namespace {

//! A SQL text from its beginning, word by word.
class Words {
public:
	explicit Words(const string &sql) : sql(sql) {
	}

	//! The next word outside of quotes and comments, in upper case, or the next quoted name as it stands; empty at the end.
	string Next() {
		while (at < sql.size()) {
			auto c = sql[at];
			if (c == '"') {
				begins = next_begins = false;
				return QuotedName();
			}
			if (c == '\'') {
				next_begins = false;
				SkipText(false);
			} else if ((c == 'e' || c == 'E') && sql.compare(at + 1, 1, "'") == 0) {
				at++;
				SkipText(true);
			} else if (c == '$' && SkipDollarQuoted()) {
				continue;
			} else if (sql.compare(at, 2, "--") == 0) {
				SkipPast("\n");
			} else if (sql.compare(at, 2, "/*") == 0) {
				at += 2;
				SkipPast("*/");
			} else if (IsOfWord(c)) {
				begins = next_begins;
				auto word = Word();
				next_begins = word == "EXPLAIN" || word == "ANALYZE";
				return word;
			} else {
				if (c == '(' || c == ')' || c == ';') {
					next_begins = true;
				} else if (!StringUtil::CharacterIsSpace(c)) {
					next_begins = false;
				}
				at++;
			}
		}
		return string();
	}

	//! Whether a statement, or one inside of it, can begin with the last word: not where it is a name.
	bool begins = false;

private:
	static bool IsOfWord(char c) {
		return StringUtil::CharacterIsAlphaNumeric(c) || c == '_' || (static_cast<uint8_t>(c) & 0x80) != 0;
	}
	string Word() {
		auto begin = at;
		while (at < sql.size() && IsOfWord(sql[at])) {
			at++;
		}
		return StringUtil::Upper(sql.substr(begin, at - begin));
	}
	string QuotedName() {
		string name;
		for (at++; at < sql.size(); at++) {
			if (sql[at] == '"' && sql.compare(++at, 1, "\"") != 0) {
				break;
			}
			name += sql[at];
		}
		return name;
	}
	void SkipPast(const string &end) {
		auto found = sql.find(end, at);
		at = found == string::npos ? sql.size() : found + end.size();
	}
	void SkipText(bool has_escapes) {
		for (at++; at < sql.size(); at++) {
			if (has_escapes && sql[at] == '\\') {
				at++;
			} else if (sql[at] == '\'') {
				at++;
				return;
			}
		}
	}
	//! Whether such a text begins here, and not a parameter.
	bool SkipDollarQuoted() {
		auto end = at + 1;
		while (end < sql.size() && IsOfWord(sql[end])) {
			end++;
		}
		if (end >= sql.size() || sql[end] != '$' || StringUtil::CharacterIsDigit(sql[at + 1])) {
			return false;
		}
		auto quote = sql.substr(at, end + 1 - at);
		at = end + 1;
		SkipPast(quote);
		return true;
	}

	const string &sql;
	idx_t at = 0;
	bool next_begins = true;
};

} // namespace

static StatementKind KindOfText(const string &sql) {
	vector<string> words;
	set<string> verbs;
	Words rest(sql);
	for (auto word = rest.Next(); !word.empty(); word = rest.Next()) {
		if (rest.begins) {
			verbs.insert(word);
		}
		words.push_back(std::move(word));
	}
	auto does = [&](const char *verb) {
		return verbs.count(verb) > 0;
	};
	auto has = [&](const char *word) {
		return std::find(words.begin(), words.end(), word) != words.end();
	};
	if (does("MERGE") || (does("INSERT") && (has("CONFLICT") || has("OR")))) {
		return StatementKind::UPSERT;
	}
	if (does("UPDATE") || does("DELETE") || does("TRUNCATE")) {
		// The FROM of DELETE is its own table; any other brings in something that may not be readable twice.
		auto sources = std::count(words.begin(), words.end(), "FROM") - (words[0] == "DELETE" ? 1 : 0);
		auto alone = sources <= 0 && !has("SELECT") && !has("USING") && !has("WITH");
		return alone ? StatementKind::OPTIMISTIC_CHANGE : StatementKind::CHANGE;
	}
	if (does("INSERT") || does("COPY")) {
		return StatementKind::INSERT;
	}
	return StatementKind::OTHER;
}

StatementKind KindOf(ClientContext &context) {
	auto sql = CurrentQuery(context);
	Words words(sql);
	auto first = words.Next();
	if (first == "SELECT" || first == "FROM") {
		// Most statements; the rest of a long text need not be read.
		return StatementKind::OTHER;
	}
	if (first == "EXECUTE") {
		auto prepared = context.client_data->prepared_statements.find(Identifier(words.Next()));
		if (prepared != context.client_data->prepared_statements.end() && prepared->second->unbound_statement) {
			// What PREPARE is given has no text of its own.
			return KindOfText(prepared->second->unbound_statement->ToString());
		}
	}
	return KindOfText(sql);
}

bool StatementGate::MayPass(StatementKind kind) const {
	auto count = [](const idx_t (&counts)[5], StatementKind of) {
		return counts[static_cast<idx_t>(of)];
	};
	auto inserts = count(inside, StatementKind::INSERT);
	auto changes = count(inside, StatementKind::CHANGE);
	auto optimistic = count(inside, StatementKind::OPTIMISTIC_CHANGE);
	auto upserts = count(inside, StatementKind::UPSERT);
	auto upserts_waiting = count(waiting, StatementKind::UPSERT);
	auto changes_waiting = count(waiting, StatementKind::CHANGE);
	switch (kind) {
	case StatementKind::INSERT:
		return upserts == 0 && upserts_waiting == 0;
	case StatementKind::OPTIMISTIC_CHANGE:
		return upserts == 0 && changes == 0 && upserts_waiting == 0 && changes_waiting == 0;
	case StatementKind::CHANGE:
		return upserts == 0 && changes == 0 && optimistic == 0 && upserts_waiting == 0;
	case StatementKind::UPSERT:
		return upserts == 0 && changes == 0 && optimistic == 0 && inserts == 0;
	default:
		return true;
	}
}

void StatementGate::Enter(ClientContext &context, StatementKind kind) {
	std::unique_lock<mutex> guard(lock);
	auto number = static_cast<idx_t>(kind);
	waiting[number]++;
	while (!MayPass(kind)) {
		left.wait_for(guard, std::chrono::milliseconds(50));
		try {
			if (IsInterrupted(context)) {
				throw InterruptException();
			}
			// Its time may be over, too.
			context.BlockingInterruptCheck();
		} catch (...) {
			waiting[number]--;
			guard.unlock();
			left.notify_all();
			throw;
		}
	}
	waiting[number]--;
	inside[number]++;
}

void StatementGate::Leave(StatementKind kind) {
	{
		lock_guard<mutex> guard(lock);
		inside[static_cast<idx_t>(kind)]--;
	}
	left.notify_all();
}

} // namespace quack
