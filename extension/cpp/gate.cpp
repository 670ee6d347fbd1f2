//! Implementation of the statement gate.

#include "gate.hpp"

#include "compat.hpp"
#include "statement.hpp"

#include "duckdb/main/client_context.hpp"
#include "duckdb/main/client_data.hpp"
#include "duckdb/main/prepared_statement_data.hpp"

using namespace duckdb;

namespace quack {

//! The words of a SQL text outside of quotes and comments, in upper case.
static vector<string> WordsOf(const string &sql) {
	vector<string> words;
	idx_t i = 0;
	auto skip_past = [&](const string &end) {
		auto found = sql.find(end, i);
		i = found == string::npos ? sql.size() : found + end.size();
	};
	while (i < sql.size()) {
		auto c = sql[i];
		if (c == '\'' || c == '"') {
			i++;
			skip_past(string(1, c));
		} else if (sql.compare(i, 2, "--") == 0) {
			skip_past("\n");
		} else if (sql.compare(i, 2, "/*") == 0) {
			i += 2;
			skip_past("*/");
		} else if (StringUtil::CharacterIsAlpha(c)) {
			auto begin = i;
			while (i < sql.size() && (StringUtil::CharacterIsAlphaNumeric(sql[i]) || sql[i] == '_')) {
				i++;
			}
			words.push_back(StringUtil::Upper(sql.substr(begin, i - begin)));
		} else {
			i++;
		}
	}
	return words;
}

static StatementKind KindOfText(const string &sql) {
	auto words = WordsOf(sql);
	auto has = [&](const char *word) {
		return std::find(words.begin(), words.end(), word) != words.end();
	};
	if (has("MERGE") || (has("INSERT") && (has("CONFLICT") || has("OR")))) {
		return StatementKind::UPSERT;
	}
	if (has("UPDATE") || has("DELETE") || has("TRUNCATE")) {
		// The FROM of DELETE is its own table; any other brings in something that may not be readable twice.
		auto sources = std::count(words.begin(), words.end(), "FROM") - (words[0] == "DELETE" ? 1 : 0);
		auto alone = sources <= 0 && !has("SELECT") && !has("USING") && !has("WITH");
		return alone ? StatementKind::OPTIMISTIC_CHANGE : StatementKind::CHANGE;
	}
	if (has("INSERT") || (!words.empty() && words[0] == "COPY")) {
		return StatementKind::INSERT;
	}
	return StatementKind::OTHER;
}

StatementKind KindOf(ClientContext &context) {
	auto sql = CurrentQuery(context);
	auto words = WordsOf(sql.substr(0, 256));
	if (!words.empty() && (words[0] == "SELECT" || words[0] == "FROM")) {
		// Most statements; the rest of a long text need not be read.
		return StatementKind::OTHER;
	}
	if (words.size() >= 2 && words[0] == "EXECUTE") {
		for (auto &prepared : context.client_data->prepared_statements) {
			if (prepared.first == words[1] && prepared.second->unbound_statement) {
				return KindOfText(prepared.second->unbound_statement->query);
			}
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
		if (IsInterrupted(context)) {
			waiting[number]--;
			guard.unlock();
			left.notify_all();
			throw InterruptException();
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
