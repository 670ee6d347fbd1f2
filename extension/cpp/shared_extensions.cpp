//! Finds which DuckDB extensions an expression or a type needs, and refuses definitions that need one that a member of
//! the cluster, or this process, does not have.

#include "shared_extensions.hpp"

#include "duckdb/catalog/catalog_entry/scalar_function_catalog_entry.hpp"
#include "duckdb/catalog/entry_lookup_info.hpp"
#include "duckdb/common/string_util.hpp"
#include "duckdb/common/type_visitor.hpp"
#include "duckdb/execution/expression_executor.hpp"
#include "duckdb/main/database.hpp"
#include "duckdb/main/extension_manager.hpp"
#include "duckdb/planner/expression/bound_cast_expression.hpp"
#include "duckdb/planner/expression/bound_function_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"

#include <algorithm>

using namespace duckdb;

namespace quack {

constexpr const char *ICU = "icu";

//! Functions of values with a time zone that have one implementation, with icu and without it.
constexpr const char *SAME_WITH_ICU[] = {"epoch_ms",     "epoch_ns", "epoch_us",    "isfinite",
                                         "isinf",        "now",      "to_timestamp", "timetz_byte_comparable",
                                         "uuid_extract_timestamp"};
//! The collations of the core; all others are icu's.
constexpr const char *CORE_COLLATIONS[] = {"binary", "c", "nfc", "noaccent", "nocase", "posix"};

template <class LIST>
static bool IsAmong(const LIST &names, const string &name) {
	return std::any_of(std::begin(names), std::end(names), [&](const char *known) { return name == known; });
}

bool IsPartOfDuckDB(const Identifier &extension) {
	return extension.empty() || extension == "core_functions" || extension == "json" || extension == "parquet" ||
	       extension == "quack";
}

vector<string> DeclaredExtensions(DatabaseInstance &db) {
	auto &manager = ExtensionManager::Get(db);
	vector<string> declared;
	for (auto &name : manager.GetExtensions()) {
		if (IsPartOfDuckDB(Identifier(name)) || !manager.ExtensionIsLoaded(name)) {
			continue;
		}
		auto info = manager.GetExtensionInfo(name);
		auto version = info && info->install_info ? info->install_info->version : string();
		declared.push_back(version.empty() ? name : name + " " + version);
	}
	std::sort(declared.begin(), declared.end());
	return declared;
}

static bool HasTimeZone(const LogicalType &type) {
	return TypeVisitor::Contains(type, [](const LogicalType &part) {
		return part.id() == LogicalTypeId::TIMESTAMP_TZ || part.id() == LogicalTypeId::TIMESTAMP_TZ_NS ||
		       part.id() == LogicalTypeId::TIME_TZ;
	});
}

//! Whether the cast gives the same with icu and without: that of a constant may, which is how people write bounds.
static bool IsSameWithIcu(ClientContext &context, const BoundFunctionExpression &cast) {
	auto &source = BoundCastExpression::Child(cast);
	auto &target = cast.GetReturnType();
	if (source.GetReturnType() == target || !(HasTimeZone(source.GetReturnType()) || HasTimeZone(target))) {
		return true;
	}
	if (!cast.IsFoldable()) {
		return false;
	}
	try {
		auto value = ExpressionExecutor::EvaluateScalar(context, source);
		return Value::NotDistinctFrom(ExpressionExecutor::EvaluateScalar(context, cast), value.DefaultCastAs(target));
	} catch (std::exception &) {
		return false;
	}
}

bool HasTimeZone(const FunctionSignature &signature) {
	auto &parameters = signature.GetParameters();
	return HasTimeZone(signature.GetReturnType()) ||
	       std::any_of(parameters.begin(), parameters.end(),
	                   [](const FunctionParameter &parameter) { return HasTimeZone(parameter.GetType()); });
}

static void Collect(ClientContext &context, const BoundFunctionExpression &call, Extensions &needed) {
	if (BoundCastExpression::IsCast(call)) {
		if (!IsSameWithIcu(context, call)) {
			needed.insert(ICU);
		}
		return;
	}
	auto &function = call.Function();
	auto name = function.GetName().GetIdentifierName();
	if (HasTimeZone(function.GetDefinition()->GetSignature()) && !IsAmong(SAME_WITH_ICU, name)) {
		needed.insert(ICU);
	}
	// What a collation adds has not been written as a call.
	QualifiedName in_system(Identifier(SYSTEM_CATALOG), Identifier::DefaultSchema(), function.GetName());
	auto entry = Catalog::GetEntry(context, EntryLookupInfo(CatalogType::SCALAR_FUNCTION_ENTRY, in_system),
	                               OnEntryNotFound::RETURN_NULL);
	if (entry && !IsPartOfDuckDB(entry->extension_name)) {
		needed.insert(entry->extension_name.GetIdentifierName());
	}
}

static void Collect(ClientContext &context, const Expression &expression, Extensions &needed) {
	if (expression.GetExpressionClass() == ExpressionClass::BOUND_FUNCTION) {
		Collect(context, expression.Cast<BoundFunctionExpression>(), needed);
	}
	ExpressionIterator::EnumerateChildren(expression,
	                                      [&](const Expression &child) { Collect(context, child, needed); });
}

Extensions NeededBy(ClientContext &context, const Expression &expression) {
	Extensions needed;
	Collect(context, expression, needed);
	return needed;
}

Extensions NeededBy(const LogicalType &type) {
	auto is_core = [](const string &collation) { return IsAmong(CORE_COLLATIONS, StringUtil::Lower(collation)); };
	auto needs_icu = TypeVisitor::Contains(type, [&](const LogicalType &part) {
		if (part.id() != LogicalTypeId::VARCHAR) {
			return false;
		}
		auto collations = StringUtil::Split(StringType::GetCollation(part), '.');
		return !std::all_of(collations.begin(), collations.end(), is_core);
	});
	return needs_icu ? Extensions {ICU} : Extensions();
}

void RequireEverywhere(const QuackCatalog &catalog, const Extensions &extensions, const string &clause) {
	for (auto &extension : extensions) {
		try {
			catalog.RequireExtension(extension);
		} catch (std::exception &ex) {
			ErrorData error(ex);
			if (error.Type() != ExceptionType::NOT_IMPLEMENTED) {
				throw;
			}
			throw NotImplementedException("%s needs the extension %s, because every node evaluates it for itself, and %s. Or "
			                              "compute the value in the statement that writes the rows",
			                              clause, extension, error.RawMessage());
		}
	}
}

void RequireHere(ClientContext &context, const Extensions &extensions, const string &clause) {
	for (auto &extension : extensions) {
		if (!ExtensionManager::Get(context).ExtensionIsLoaded(extension)) {
			throw MissingExtensionException("%s needs the extension %s, which this process does not have: LOAD %s before "
			                                "quack_serve",
			                                clause, extension, extension);
		}
	}
}

} // namespace quack
